//! `candlepower dashboards`: opens the way to a deployment's Prometheus, Jaeger and Grafana.
use super::{
    Error,
    connection::Connection,
    text::{Format, print_json},
};
use crate::evidence::{
    cluster::{self, PodPort},
    places,
};
use candlepower_api::names::labels;
use kube::{Client, ResourceExt};
use serde::Serialize;
use std::net::Ipv4Addr;
use tokio::net::TcpListener;

/// The value of [`labels::APP_NAME`] on Grafana's Service.
const GRAFANA: &str = "grafana";

#[derive(Debug, clap::Args)]
pub(super) struct Dashboards {
    /// The LLMDeployment.
    name: String,
    /// Text for people or JSON for programs; the ways stay open with both.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// One tool: its links, or why there is none.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tool {
    #[serde(rename = "tool")]
    name: &'static str,
    links: Vec<Link>,
    #[serde(skip_serializing_if = "Option::is_none")]
    absent: Option<String>,
}

/// A way that is open.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    url: String,
    namespace: String,
    pod: String,
}

impl Dashboards {
    pub(super) async fn run(&self, connection: &Connection) -> Result<(), Error> {
        let deployment = connection.find(&self.name).await?;
        let namespace = deployment.namespace().unwrap_or_default();
        let client = &connection.client;
        let mut tools = Vec::new();
        let places = [
            ("Prometheus", places::prometheus(&deployment)),
            ("Jaeger", places::jaeger(&deployment)),
        ];
        for (tool, place) in places {
            let pods = match places::find(client, &place, &namespace, &self.name).await {
                Ok(found) => found.pods(client).await,
                Err(error) => Err(error),
            };
            tools.push(open(client, tool, pods).await?);
        }
        tools.push(open(client, "Grafana", grafana(client).await).await?);
        match self.output {
            Format::Json => print_json(&tools)?,
            Format::Text => print!("{}", text(&tools)),
        }
        if tools.iter().all(|tool| tool.links.is_empty()) {
            return Err(Error::Other("there is nothing to open".to_owned()));
        }
        if self.output == Format::Text {
            println!("Ctrl-C ends");
        }
        Ok(tokio::signal::ctrl_c().await?)
    }
}

/// A line for each link, and for each tool without one.
fn text(tools: &[Tool]) -> String {
    let lines = tools.iter().flat_map(|tool| {
        let name = tool.name;
        let absent = tool.absent.iter();
        let absent = absent.map(move |why| format!("{name:<12}absent: {why}\n"));
        let links = tool.links.iter().map(move |link| {
            format!(
                "{name:<12}{}  (pod {}/{})\n",
                link.url, link.namespace, link.pod
            )
        });
        absent.chain(links)
    });
    lines.collect()
}

/// The pod of the cluster's Grafana.
async fn grafana(client: &Client) -> Result<Vec<PodPort>, cluster::Error> {
    let selector = format!("{}={GRAFANA}", labels::APP_NAME);
    let services = cluster::services(client, &selector).await?;
    for service in services {
        let port = service
            .ports
            .first()
            .and_then(|one| one.port.try_into().ok());
        if let Some(port) = port {
            return Ok(vec![service.pod(client, port).await?]);
        }
    }
    let why = format!("no Service has the label {selector}");
    Err(cluster::Error::Absent(why))
}

/// Opens a port of this machine for each pod.
async fn open(
    client: &Client,
    tool: &'static str,
    pods: Result<Vec<PodPort>, cluster::Error>,
) -> Result<Tool, Error> {
    let (pods, absent) = match pods {
        Ok(pods) => (pods, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let mut links = Vec::new();
    for at in pods {
        let listener = listen(at.port).await?;
        let port = listener.local_addr()?.port();
        links.push(Link {
            url: format!("http://localhost:{port}"),
            namespace: at.namespace.clone(),
            pod: at.pod.clone(),
        });
        tokio::spawn(cluster::serve(client.clone(), at, listener));
    }
    Ok(Tool {
        name: tool,
        links,
        absent,
    })
}

/// The tool's own port where it is free, and any other where it is not.
async fn listen(port: u16) -> std::io::Result<TcpListener> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_taken_is_replaced_by_another() {
        let first = listen(0).await.unwrap().local_addr().unwrap().port();
        let taken = listen(first).await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let second = listen(port).await.unwrap().local_addr().unwrap().port();
        assert_ne!(port, second);
    }

    #[test]
    fn programs_and_people_read_the_same_links() {
        let tools = [
            Tool {
                name: "Jaeger",
                links: vec![Link {
                    url: "http://localhost:16686".to_owned(),
                    namespace: "team".to_owned(),
                    pod: "tiny-1".to_owned(),
                }],
                absent: None,
            },
            Tool {
                name: "Grafana",
                links: vec![],
                absent: Some("no Service".to_owned()),
            },
        ];
        assert_eq!(
            text(&tools),
            "Jaeger      http://localhost:16686  (pod team/tiny-1)\nGrafana     absent: no Service\n"
        );
        let json = serde_json::to_value(&tools).unwrap();
        assert_eq!(json[0]["links"][0]["url"], "http://localhost:16686");
        assert_eq!(json[1]["absent"], "no Service");
    }
}
