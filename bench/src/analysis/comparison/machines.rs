//! Whether two runs had the same machine below them: a copy of a deployment may run on another node. Pure.
use super::{Change, Comparison};
use candlepower_api::{benchmark::job::NodeFacts, value::ByteSize};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Kernels of one release keep a little more or less of the same memory for themselves.
const SAME_MEMORY: f64 = 0.02;

/// What a run had below it, as far as it is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place<'a> {
    /// What the run is called.
    pub name: &'a str,
    /// The nodes of its pods.
    pub nodes: &'a [NodeFacts],
    /// The CPU's name.
    pub cpu: Option<&'a str>,
}

/// That two runs had other nodes below them.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherMachine {
    /// Whether these differ in more than their names: no figure may then be taken for the effect of the change.
    pub of_other_kind: bool,
    /// Which they were, and what differs.
    pub text: String,
}

/// What differs between the nodes of two runs; none where they are the same ones, or one run's are not known.
pub fn other_machine(before: Place<'_>, after: Place<'_>) -> Option<OtherMachine> {
    let differences = differences(before, after);
    let [old, new] =
        [before, after].map(|one| listed(one.nodes.iter().map(|node| node.name.clone())));
    if !differences.is_empty() {
        let on = |names: &str| match names {
            "" => String::new(),
            names => format!(" on {names}"),
        };
        return Some(OtherMachine {
            of_other_kind: true,
            text: format!(
                "{} ran{}, {}{}, and these machines differ: {}. What the change did cannot be told from what the machine did",
                after.name,
                on(&new),
                before.name,
                on(&old),
                differences.join("; ")
            ),
        });
    }
    let known = !old.is_empty() && !new.is_empty();
    (known && old != new).then(|| OtherMachine {
        of_other_kind: false,
        text: format!(
            "{} ran on {new}, {} on {old}: other nodes, of the same kind as far as Kubernetes tells",
            after.name, before.name
        ),
    })
}

/// What a node is, in words.
type Fact = fn(&NodeFacts) -> Option<String>;

const FACTS: [(&str, Fact); 4] = [
    ("architecture", |node| node.architecture.clone()),
    ("kernel", |node| node.kernel_version.clone()),
    ("CPU", |node| {
        let cores = f64::from(node.cpu_millicores?) / 1e3;
        Some(format!("{cores} cores"))
    }),
    ("GPUs", |node| {
        let product = node.gpu_product.as_deref().unwrap_or("of an unknown kind");
        Some(match node.gpus {
            0 => "none".to_owned(),
            count => format!("{count} × {product}"),
        })
    }),
];

fn differences(before: Place<'_>, after: Place<'_>) -> Vec<String> {
    let mut found = vec![];
    for (name, fact) in FACTS {
        let [old, new] = [before, after].map(|one| listed(one.nodes.iter().filter_map(fact)));
        found.extend(difference(name, &old, &new));
    }
    let [old, new] = [before, after].map(|one| {
        let sizes = one.nodes.iter().filter_map(|node| node.memory_bytes);
        sizes.collect::<Vec<_>>()
    });
    if !same_sizes(&old, &new) {
        let [old, new] = [old, new].map(|sizes| {
            let sizes = sizes.into_iter();
            listed(sizes.map(|bytes| ByteSize::new(bytes).human()))
        });
        found.extend(difference("memory", &old, &new));
    }
    let [old, new] = [before, after].map(|one| one.cpu.unwrap_or_default());
    found.extend(difference("name of the CPU", old, new));
    found
}

/// Nothing where one of the two is not known.
fn difference(name: &str, old: &str, new: &str) -> Option<String> {
    let known = !old.is_empty() && !new.is_empty();
    (known && old != new).then(|| format!("{name} ({new} instead of {old})"))
}

/// Whether each of one list has its like in the other.
fn same_sizes(old: &[u64], new: &[u64]) -> bool {
    let alike = |a: u64, b: u64| (a as f64 - b as f64).abs() <= SAME_MEMORY * a.max(b) as f64;
    let within = |some: &[u64], others: &[u64]| {
        let mut some = some.iter();
        some.all(|one| others.iter().any(|other| alike(*one, *other)))
    };
    within(old, new) && within(new, old)
}

/// Each once, in their order.
fn listed(values: impl Iterator<Item = String>) -> String {
    let mut values: Vec<_> = values.collect();
    values.sort();
    values.dedup();
    values.join(", ")
}

impl Comparison {
    /// Without a verdict where what the second run had below it was of another kind.
    #[must_use]
    pub fn on(mut self, other: Option<OtherMachine>) -> Self {
        self.other_machine = other;
        if self.is_of_another_machine() {
            let rows = self.levels.iter_mut().flat_map(|level| &mut level.rows);
            for row in rows.filter(|row| row.verdict != Change::NotKnown) {
                row.verdict = Change::OtherMachine;
            }
        }
        self
    }

    /// Whether nothing can be said of the change, because the machine was another one, too.
    pub fn is_of_another_machine(&self) -> bool {
        let other = self.other_machine.as_ref();
        other.is_some_and(|other| other.of_other_kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeFacts {
        NodeFacts {
            name: name.to_owned(),
            kernel_version: Some("6.1.0".to_owned()),
            architecture: Some("amd64".to_owned()),
            cpu_millicores: Some(16_000),
            memory_bytes: Some(64 << 30),
            ..NodeFacts::default()
        }
    }

    fn place<'a>(name: &'a str, nodes: &'a [NodeFacts]) -> Place<'a> {
        Place {
            name,
            nodes,
            cpu: None,
        }
    }

    fn other(before: &[NodeFacts], after: &[NodeFacts]) -> Option<OtherMachine> {
        other_machine(place("the deployment", before), place("q4", after))
    }

    #[test]
    fn the_same_nodes_are_no_other_machine_and_unknown_ones_are_none_that_is_known() {
        let two = [node("a"), node("b")];
        assert_eq!(other(&two, &[node("b"), node("a")]), None);
        assert_eq!(other(&two, &[]), None);
        assert_eq!(other(&[], &two), None);
    }

    #[test]
    fn another_node_of_the_same_kind_is_named_and_no_more() {
        let mut alike = node("b");
        alike.memory_bytes = Some((64 << 30) - (100 << 20));
        let other = other(&[node("a")], &[alike]).unwrap();
        assert!(!other.of_other_kind);
        assert!(
            other
                .text
                .starts_with("q4 ran on b, the deployment on a: other nodes, of the same kind"),
            "{}",
            other.text
        );
    }

    #[test]
    fn a_node_of_another_kind_is_told_with_all_that_differs() {
        let mut gpu = node("b");
        gpu.kernel_version = Some("6.8.0".to_owned());
        gpu.memory_bytes = Some(32 << 30);
        gpu.cpu_millicores = Some(8_000);
        (gpu.gpus, gpu.gpu_product) = (1, Some("NVIDIA-L4".to_owned()));
        let other = other(&[node("a")], &[gpu]).unwrap();
        assert!(other.of_other_kind);
        for said in [
            "kernel (6.8.0 instead of 6.1.0)",
            "CPU (8 cores instead of 16 cores)",
            "memory (32.0 GiB instead of 64.0 GiB)",
            "GPUs (1 × NVIDIA-L4 instead of none)",
        ] {
            assert!(other.text.contains(said), "{said}: {}", other.text);
        }
        assert!(!other.text.contains("architecture"), "{}", other.text);
    }

    #[test]
    fn a_fact_that_one_side_lacks_is_no_difference_and_a_cpu_that_is_known_can_be_one() {
        let mut silent = node("a");
        (silent.kernel_version, silent.memory_bytes) = (None, None);
        let silent = [silent];
        assert_eq!(other(&[node("a")], &silent), None);
        let nodes = [node("a")];
        let cpu = |name, cpu| Place {
            cpu: Some(cpu),
            ..place(name, &nodes)
        };
        let other = other_machine(cpu("the deployment", "Xeon"), cpu("q4", "EPYC")).unwrap();
        assert!(
            other.of_other_kind
                && other
                    .text
                    .contains("name of the CPU (EPYC instead of Xeon)")
        );
    }

    #[test]
    fn a_copy_on_one_of_several_kinds_of_nodes_is_no_fair_comparison() {
        let mut small = node("b");
        small.cpu_millicores = Some(4_000);
        let both = [node("a"), small];
        assert!(other(&both, &both[..1]).unwrap().of_other_kind);
        assert!(
            !other(&[node("a"), node("c")], &[node("a")])
                .unwrap()
                .of_other_kind
        );
    }
}
