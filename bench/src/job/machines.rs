//! The machines below what is measured: the operator has each looked at once, after the load on it.
use super::{Error, mailbox::Mailbox};
use crate::{
    analysis::comparison::{Place, other_machine},
    evidence::{hardware::Hardware, sources::HardwareFrom},
};
use candlepower_api::benchmark::job::{MachineWish, Served};
use std::{collections::BTreeMap, slice};

/// What was found of each node, or why nothing, by the CPU limit of the server that it was looked at for.
pub(super) struct Machines {
    mailbox: Mailbox,
    /// The number of the last wish.
    wishes: u32,
    known: BTreeMap<(String, Option<String>), Result<Hardware, String>>,
}

impl Machines {
    pub(super) fn new(mailbox: Mailbox) -> Self {
        Self {
            mailbox,
            wishes: 0,
            known: BTreeMap::new(),
        }
    }

    /// An earlier pod of this job may have been lost while it waited for an answer.
    pub(super) async fn go_on_after(&mut self, last: Option<MachineWish>) -> Result<(), Error> {
        if let Some(last) = last {
            self.wishes = last.number;
            self.withdraw().await?;
        }
        Ok(())
    }

    /// The machine below `served`, whose load is over: a look at it takes all its cores for some seconds.
    pub(super) async fn below(&mut self, served: &Served) -> Result<HardwareFrom, Error> {
        let node = match node(served) {
            Ok(node) => node,
            Err(why) => return Ok(HardwareFrom::Nowhere { why }),
        };
        let looked_at_for = (node.to_owned(), cpu_limit(served));
        let known = if let Some(known) = self.known.get(&looked_at_for) {
            known.clone()
        } else {
            let found = self.look_at(node).await?;
            self.known.insert(looked_at_for, found.clone());
            found
        };
        Ok(match known {
            Ok(found) => HardwareFrom::Read(Box::new(found)),
            Err(why) => HardwareFrom::Nowhere { why },
        })
    }

    async fn look_at(&mut self, node: &str) -> Result<Result<Hardware, String>, Error> {
        self.wishes += 1;
        let found = self.mailbox.machine(self.wishes, node).await?;
        // Otherwise the operator would have it looked at again under the next load.
        self.withdraw().await?;
        let read = found.and_then(|found| {
            serde_json::from_value(found)
                .map_err(|error| format!("what the look at it brought cannot be read: {error}"))
        });
        Ok(read.map_err(|why| format!("the node {node} could not be looked at: {why}")))
    }

    async fn withdraw(&mut self) -> Result<(), Error> {
        self.wishes += 1;
        let nothing = MachineWish {
            number: self.wishes,
            node: None,
        };
        Ok(self.mailbox.wish_for_machine(&nothing).await?)
    }
}

/// The node that tells of all those below `served`, or why none does.
fn node(served: &Served) -> Result<&str, String> {
    if served.deployment.is_none() {
        return Err(
            "nobody told which machine the server runs on: the target is no LLMDeployment"
                .to_owned(),
        );
    }
    let names = || {
        let pages = served.metrics.iter();
        pages.filter_map(|page| page.node.as_deref())
    };
    let first = names()
        .next()
        .ok_or_else(|| "no pod of it serves any more".to_owned())?;
    if names().all(|name| name == first) {
        return Ok(first);
    }
    let known = |name: &str| served.nodes.iter().find(|node| node.name == name);
    let nodes: Option<Vec<_>> = names().map(known).collect();
    let Some(nodes) = nodes else {
        return Err(
            "its pods run on several nodes, of which it is not known whether they are alike"
                .to_owned(),
        );
    };
    let place = |node| Place {
        nodes: slice::from_ref(node),
        ..Place::default()
    };
    let differs = nodes.iter().any(|node| {
        let other = other_machine(place(nodes[0]), place(node));
        other.is_some_and(|other| other.of_other_kind)
    });
    if differs {
        return Err("its pods run on nodes of several kinds, and a look at one of them would say nothing about the others".to_owned());
    }
    Ok(first)
}

/// As the deployment's `spec` has it.
fn cpu_limit(served: &Served) -> Option<String> {
    let limit = served.deployment_spec.as_ref()?.pointer("/resources/cpu")?;
    Some(limit.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A deployment with pods on these nodes, which have so many cores.
    fn on(pods: &[&str], nodes: &[(&str, u32)]) -> Served {
        let pages = pods.iter().map(|node| json!({"node": node, "url": ""}));
        let nodes = nodes
            .iter()
            .map(|(name, cores)| json!({"name": name, "cpuMillicores": cores * 1000}));
        serde_json::from_value(json!({
            "url": "", "model": "m", "deployment": "tiny",
            "metrics": pages.collect::<Vec<_>>(), "nodes": nodes.collect::<Vec<_>>(),
        }))
        .unwrap()
    }

    #[test]
    fn pods_on_one_node_or_on_alike_ones_are_told_of_by_the_first() {
        assert_eq!(node(&on(&["a", "a"], &[])), Ok("a"));
        let alike = on(&["a", "b"], &[("a", 8), ("b", 8)]);
        assert_eq!(node(&alike), Ok("a"));
    }

    #[test]
    fn nodes_that_differ_or_are_not_known_are_not_told_of_by_one() {
        let why = |served: &Served| node(served).unwrap_err();
        assert!(why(&on(&["a", "b"], &[("a", 8), ("b", 64)])).contains("several kinds"));
        for known in ["a", "b"] {
            assert!(why(&on(&["a", "b"], &[(known, 8)])).contains("not known"));
        }
        assert!(why(&on(&[], &[("a", 8)])).contains("no pod"));
        let mut stranger = on(&["a"], &[]);
        stranger.deployment = None;
        assert!(why(&stranger).contains("no LLMDeployment"));
    }

    #[test]
    fn a_copy_with_another_cpu_limit_is_another_thing_to_look_at() {
        let limited = |spec: Value| Served {
            deployment_spec: Some(spec),
            ..on(&["a"], &[])
        };
        let two = cpu_limit(&limited(json!({"resources": {"cpu": "2"}})));
        let one = cpu_limit(&limited(json!({"resources": {"cpu": "1"}})));
        assert!(two.is_some() && two != one);
        assert_eq!(cpu_limit(&on(&["a"], &[])), None);
    }
}
