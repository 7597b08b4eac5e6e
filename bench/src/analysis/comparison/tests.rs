use super::*;
use crate::{analysis::testing::Plant, report::Report, waiting::MoreThan};

fn report(change: impl FnOnce(&mut Plant)) -> Report {
    Plant::report(&[Plant::with(change)])
}

fn side<'a>(name: &'a str, report: &'a Report) -> Side<'a> {
    Side {
        name,
        workload: &report.run.workload,
        levels: &report.levels,
    }
}

fn verdict(comparison: &Comparison, metric: Compared) -> Change {
    let rows = &comparison.levels[0].rows;
    rows.iter()
        .find(|row| row.metric == metric)
        .unwrap()
        .verdict
}

#[test]
fn a_clear_gain_is_better_and_a_clear_loss_is_worse() {
    let (slow, fast) = (report(|plant| plant.tpot = 30.0), report(|_| {}));
    let gain = compare(side("a", &slow), side("b", &fast)).unwrap();
    assert_eq!(verdict(&gain, Compared::Tpot), Change::Better);
    assert_eq!(verdict(&gain, Compared::Throughput), Change::Better);
    let loss = compare(side("b", &fast), side("a", &slow)).unwrap();
    assert_eq!(verdict(&loss, Compared::Tpot), Change::Worse);
    let tpot = &loss.levels[0].rows[2];
    let change = tpot.change.unwrap();
    assert!((change - 0.5).abs() < 0.02, "{change}");
    assert_eq!(tpot.improvement(), Some(-change), "it takes longer");
    let throughput = &gain.levels[0].rows[3];
    assert!(throughput.improvement().unwrap() > 0.2, "{throughput:?}");
}

#[test]
fn a_change_within_the_intervals_has_no_verdict() {
    let (one, other) = (report(|plant| plant.tpot = 20.05), report(|_| {}));
    let same = compare(side("a", &one), side("b", &other)).unwrap();
    assert_eq!(verdict(&same, Compared::Tpot), Change::NoDifference);
    assert_eq!(verdict(&same, Compared::TtftP95), Change::NoDifference);
}

#[test]
fn another_workload_is_refused_and_the_difference_named() {
    let (one, mut other) = (report(|_| {}), report(|_| {}));
    other.run.workload.seed = 2;
    other.run.workload.output_tokens = 5;
    let error = compare(side("a", &one), side("b", &other)).unwrap_err();
    assert!(error.to_string().contains("seed, output tokens"), "{error}");
}

#[test]
fn runs_without_a_common_load_are_refused() {
    let (one, other) = (report(|_| {}), report(|plant| plant.users = 9));
    let error = compare(side("a", &one), side("b", &other)).unwrap_err();
    assert_eq!(error, Unlike::NoCommonLoad);
}

/// What a change to `tpot` comes to, where the run before took 20 ms a token and then `again`.
fn beside(again: f64, tpot: f64) -> Comparison {
    let [first, last, changed] = [20.0, again, tpot].map(|ms| report(|plant| plant.tpot = ms));
    compare_repeated(side("a", &first), Some(&last.levels), side("b", &changed)).unwrap()
}

#[test]
fn a_change_within_what_the_run_itself_drifted_is_no_gain_and_no_loss() {
    assert_eq!(
        verdict(&beside(30.0, 25.0), Compared::Tpot),
        Change::WithinDrift
    );
    assert_eq!(
        verdict(&beside(15.0, 17.0), Compared::Tpot),
        Change::WithinDrift
    );
    assert_eq!(verdict(&beside(30.0, 60.0), Compared::Tpot), Change::Worse);
    assert_eq!(verdict(&beside(30.0, 10.0), Compared::Tpot), Change::Better);
    assert_eq!(
        verdict(&beside(30.0, 20.05), Compared::Tpot),
        Change::NoDifference
    );
    let row = &beside(30.0, 25.0).levels[0].rows[2];
    let again = row.again.unwrap().value.unwrap();
    assert!((again / 30_000.0 - 1.0).abs() < 0.02, "{row:?}");
}

#[test]
fn a_second_round_with_too_few_requests_leaves_no_verdict() {
    let [first, mut last, changed] = [20.0, 20.0, 60.0].map(|ms| report(|plant| plant.tpot = ms));
    last.levels[0].intervals.tpot = None;
    let compared =
        compare_repeated(side("a", &first), Some(&last.levels), side("b", &changed)).unwrap();
    assert_eq!(verdict(&compared, Compared::Tpot), Change::NotKnown);
}

/// As if half of the requests had been cut off after they had waited so long, in microseconds.
fn cut_off(report: &mut Report, waited: u64) {
    report.levels[0].figures.ttft_more_than = Some(MoreThan {
        waiting: 10,
        count: 20,
        p50: waited,
        p95: waited,
        p99: waited,
    });
}

#[test]
fn requests_that_were_cut_off_while_they_waited_leave_no_verdict_on_ttft() {
    let (slow, mut fast) = (report(|plant| plant.queue = 300.0), report(|_| {}));
    cut_off(&mut fast, 1_000);
    let compared = compare(side("a", &slow), side("b", &fast)).unwrap();
    for metric in [Compared::TtftP50, Compared::TtftP95] {
        assert_eq!(verdict(&compared, metric), Change::CutOff, "{metric:?}");
    }
    assert_eq!(compared.levels[0].rows[0].change, None);
    assert_eq!(verdict(&compared, Compared::Tpot), Change::NoDifference);
}

#[test]
fn what_waiting_alone_exceeds_is_worse_however_little_is_known_of_it() {
    let (before, mut after) = (report(|_| {}), report(|_| {}));
    cut_off(&mut after, 30_000_000);
    let compared = compare(side("a", &before), side("b", &after)).unwrap();
    assert_eq!(verdict(&compared, Compared::TtftP95), Change::Worse);
    let back = compare(side("b", &after), side("a", &before)).unwrap();
    assert_eq!(verdict(&back, Compared::TtftP95), Change::Better);
}

#[test]
fn the_load_that_each_side_bears_is_compared_too() {
    let levels = |queue: f64| {
        let level = |users, queue| Plant {
            users,
            queue,
            ..Plant::default()
        };
        Plant::report(&[level(4, 1.0), level(8, queue)])
    };
    let compared = compare(side("a", &levels(3_000.0)), side("b", &levels(1.0))).unwrap();
    let capacity = compared.capacity.unwrap();
    assert_eq!(capacity.before.unwrap().load, "4 users");
    assert_eq!(capacity.after.unwrap().load, "8 users");
}

#[test]
fn memory_is_shown_and_a_peak_is_no_verdict() {
    let (one, other) = (report(|_| {}), report(|_| {}));
    let compared = compare(side("a", &one), side("b", &other)).unwrap();
    let rows = &compared.levels[0].rows;
    let memory = rows
        .iter()
        .find(|row| row.metric == Compared::Memory)
        .unwrap();
    assert_eq!(memory.before.value, Some(400e6));
    assert_eq!(memory.verdict, Change::NotKnown);
    assert!(rows.iter().all(|row| row.metric != Compared::GpuMemory));
}
