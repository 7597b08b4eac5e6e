//! `candlepower dashboards`: opens the way to a deployment's Prometheus, Jaeger and Grafana.
use super::{Error, connection::Connection};
use crate::evidence::{
    cluster::{self, PodPort},
    places,
};
use candlepower_api::names::labels;
use kube::{Client, ResourceExt};
use std::net::Ipv4Addr;
use tokio::net::TcpListener;

/// The value of [`labels::APP_NAME`] on Grafana's Service.
const GRAFANA: &str = "grafana";

#[derive(Debug, clap::Args)]
pub(super) struct Dashboards {
    /// The LLMDeployment.
    name: String,
}

impl Dashboards {
    pub(super) async fn run(&self, connection: &Connection) -> Result<(), Error> {
        let deployment = connection.find(&self.name).await?;
        let namespace = deployment.namespace().unwrap_or_default();
        let client = &connection.client;
        let mut open = 0;
        let places = [
            ("Prometheus", places::prometheus(&deployment)),
            ("Jaeger", places::jaeger(&deployment)),
        ];
        for (tool, place) in places {
            let pods = match places::find(client, &place, &namespace, &self.name).await {
                Ok(found) => found.pods(client).await,
                Err(error) => Err(error),
            };
            open += show(client, tool, pods).await?;
        }
        open += show(client, "Grafana", grafana(client).await).await?;
        if open == 0 {
            return Err(Error::Other("there is nothing to open".to_owned()));
        }
        println!("Ctrl-C ends");
        Ok(tokio::signal::ctrl_c().await?)
    }
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

/// Opens a port of this machine for each pod and prints its link, or why there is none; returns
/// how many it opened.
async fn show(
    client: &Client,
    tool: &str,
    pods: Result<Vec<PodPort>, cluster::Error>,
) -> Result<usize, Error> {
    let pods = match pods {
        Ok(pods) => pods,
        Err(error) => {
            println!("{tool:<12}absent: {error}");
            return Ok(0);
        }
    };
    let count = pods.len();
    for at in pods {
        let listener = listen(at.port).await?;
        let port = listener.local_addr()?.port();
        println!(
            "{tool:<12}http://localhost:{port}  (pod {}/{})",
            at.namespace, at.pod
        );
        tokio::spawn(cluster::serve(client.clone(), at, listener));
    }
    Ok(count)
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
}
