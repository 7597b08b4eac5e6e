//! `candlepower status`: one deployment on one screen, or all as a list.
mod pods;
mod render;

use super::{
    Error,
    connection::Connection,
    fleet::{Row, is_ready, plain},
    text::{Format, Paint, print_json},
};
use crate::evidence::places::{self, Found, Place};
use candlepower_api::{
    deployment::{LLMDeployment, status::LLMDeploymentStatus},
    names::labels,
};
use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use kube::{Api, ResourceExt, api::ListParams};
use serde::Serialize;
use std::process::ExitCode;

/// The exit code where something is not ready.
const NOT_READY: u8 = 3;

#[derive(Debug, clap::Args)]
pub(super) struct Status {
    /// The LLMDeployment; all are listed where absent.
    name: Option<String>,
    /// Text for people or JSON for programs.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// One deployment, its pods, and where its tools are.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    namespace: String,
    name: String,
    created: Option<String>,
    ready: bool,
    status: LLMDeploymentStatus,
    pods: Vec<pods::PodSummary>,
    prometheus: Tool,
    jaeger: Tool,
}

/// Where a tool is, and how to open it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tool {
    place: Place,
    /// Commands that open it.
    commands: Vec<String>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    absent: Option<String>,
}

impl Status {
    pub(super) async fn run(&self, connection: &Connection) -> Result<ExitCode, Error> {
        let ready = match &self.name {
            None => self.list(connection).await?,
            Some(name) => self.one(connection, connection.find(name).await?).await?,
        };
        Ok(if ready {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(NOT_READY)
        })
    }

    async fn list(&self, connection: &Connection) -> Result<bool, Error> {
        let rows: Vec<_> = connection.list().await?.iter().map(Row::of).collect();
        match self.output {
            Format::Json => print_json(&rows)?,
            Format::Text if rows.is_empty() => {
                eprintln!("no LLMDeployment in {}", connection.place());
            }
            Format::Text => print!("{}", plain(&rows)),
        }
        Ok(rows.iter().all(|row| row.ready))
    }

    async fn one(&self, connection: &Connection, found: LLMDeployment) -> Result<bool, Error> {
        let report = Report::of(connection, found).await?;
        match self.output {
            Format::Json => print_json(&report)?,
            Format::Text => print!(
                "{}",
                render::screen(&report, Timestamp::now(), Paint::for_stdout())
            ),
        }
        Ok(report.ready)
    }
}

impl Report {
    async fn of(connection: &Connection, deployment: LLMDeployment) -> Result<Self, Error> {
        let (namespace, name) = (
            deployment.namespace().unwrap_or_default(),
            deployment.name_any(),
        );
        let client = &connection.client;
        let selector = format!("{}={name}", labels::LLM_DEPLOYMENT);
        let pods = Api::<Pod>::namespaced(client.clone(), &namespace)
            .list(&ListParams::default().labels(&selector))
            .await?;
        let prometheus = Tool::at(connection, places::prometheus(&deployment), &deployment).await;
        let jaeger = Tool::at(connection, places::jaeger(&deployment), &deployment).await;
        let created = deployment.metadata.creation_timestamp.as_ref();
        Ok(Self {
            created: created.map(|time| time.0.to_string()),
            ready: is_ready(&deployment),
            pods: pods.iter().map(pods::PodSummary::of).collect(),
            status: deployment.status.unwrap_or_default(),
            namespace,
            name,
            prometheus,
            jaeger,
        })
    }
}

impl Tool {
    async fn at(connection: &Connection, place: Place, deployment: &LLMDeployment) -> Self {
        let namespace = deployment.namespace().unwrap_or_default();
        let name = deployment.name_any();
        let found = places::find(&connection.client, &place, &namespace, &name).await;
        let (commands, absent) = match found {
            Ok(found) => (commands(&found), None),
            Err(error) => (vec![], Some(error.to_string())),
        };
        Self {
            place,
            commands,
            absent,
        }
    }
}

/// How to open what was found.
fn commands(found: &Found) -> Vec<String> {
    let forward = |namespace: &str, what: String, port: u16| {
        format!("kubectl -n {namespace} port-forward {what} {port}")
    };
    match found {
        Found::Pods(pods) => pods
            .iter()
            .map(|at| forward(&at.namespace, format!("pod/{}", at.pod), at.port))
            .collect(),
        Found::Service(service, port) => {
            vec![forward(
                &service.namespace,
                format!("service/{}", service.name),
                *port,
            )]
        }
    }
}
