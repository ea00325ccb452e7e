use proptest::prelude::*;

use super::*;

fn row() -> ResultRow {
    ResultRow {
        run_id: "r1".into(),
        task: "lab-reviews".into(),
        method: "s3".into(),
        variant: String::new(),
        student: "tiny".into(),
        teacher: "simulated".into(),
        provenance: Provenance::Simulated,
        protocol: Protocol::Clean,
        seed: 0,
        round: 2,
        epoch: None,
        split: Split::Test,
        metric: "accuracy".into(),
        value: 0.5,
        n: Some(10),
        ci_low: None,
        ci_high: None,
        train_rows: Some(6),
        seed_rows: Some(1),
        additional_rows: Some(2),
        gold_rows: Some(3),
        requests: Some(9),
        prompt_tokens: None,
        completion_tokens: None,
        usd: None,
        train_tokens: None,
        train_flops: None,
        wall_seconds: None,
        peak_rss_mb: None,
        device: "cpu".into(),
        commit: String::new(),
    }
}

fn text(rows: &[ResultRow]) -> String {
    let mut out = Vec::new();
    write(rows, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn the_header_is_the_contract() {
    let contract = "run_id,task,method,variant,student,teacher,provenance,protocol,seed,round,epoch,split,metric,value,n,\
                    ci_low,ci_high,train_rows,seed_rows,additional_rows,gold_rows,requests,prompt_tokens,completion_tokens,\
                    usd,train_tokens,train_flops,wall_seconds,peak_rss_mb,device,commit\n";
    assert_eq!(text(&[]), contract);
    assert_eq!(
        text(&[row()]).lines().nth(1),
        Some("r1,lab-reviews,s3,,tiny,simulated,simulated,clean,0,2,,test,accuracy,0.5,10,,,6,1,2,3,9,,,,,,,,cpu,")
    );
}

#[test]
fn the_struct_has_exactly_these_columns() {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.serialize(row()).unwrap();
    let written = String::from_utf8(writer.into_inner().unwrap()).unwrap();
    assert_eq!(written.lines().next().unwrap(), COLUMNS.join(","));
}

#[test]
fn bad_rows_name_line_and_column() {
    let good = text(&[row()]);
    for (from, to, message) in [
        (",0.5,", ",1.5,", "r.csv:2: `value` is 1.5: `accuracy` is a rate in [0, 1]"),
        (",0.5,", ",NaN,", "r.csv:2: `value` is NaN: values are finite"),
        (",0.5,", ",high,", "r.csv:2: `value`: invalid float literal"),
        (",test,", ",exam,", "r.csv:2: `row`: unknown variant `exam`, expected one of `train`, `mine`, `select`, `test`"),
        (",6,1,2,3,", ",7,1,2,3,", "r.csv:2: `train_rows` is not `seed_rows` + `additional_rows` + `gold_rows`"),
        ("r1,", ",", "r.csv:2: `run_id` is empty"),
        ("run_id,", "id,", "r.csv: column 1 is `id`, expected `run_id`: not a results file"),
    ] {
        let broken = good.replacen(from, to, 1);
        assert_ne!(broken, good, "{from}");
        assert_eq!(read(broken.as_bytes(), "r.csv").unwrap_err().to_string(), message);
    }
}

fn rate() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), Just(1.0), 0.0..1.0]
}

fn label() -> impl Strategy<Value = String> {
    "[ -~\n\"é,]{0,12}".prop_filter("a lone carriage return is not written", |text| !text.contains('\r'))
}

prop_compose! {
    fn any_row()(
        names in (label(), label(), label(), label()),
        (seed, round, epoch) in (any::<u64>(), 0_usize..9, proptest::option::of(1_usize..99)),
        (value, low, high) in (rate(), proptest::option::of(rate()), proptest::option::of(rate())),
        counts in proptest::option::of((0_usize..1_000_000, 0_usize..1_000_000, 0_usize..1_000_000)),
        (n, requests, tokens) in (proptest::option::of(any::<usize>()), proptest::option::of(any::<u64>()), proptest::option::of(any::<u64>())),
        (usd, flops, seconds) in (proptest::option::of(0.0..1e9), proptest::option::of(0.0..1e30), proptest::option::of(0.0..1e6)),
    ) -> ResultRow {
        ResultRow {
            variant: names.0,
            student: names.1,
            device: names.2,
            commit: names.3,
            seed,
            round,
            epoch,
            value,
            n,
            ci_low: low,
            ci_high: high,
            train_rows: counts.map(|(a, b, c)| a + b + c),
            seed_rows: counts.map(|(a, _, _)| a),
            additional_rows: counts.map(|(_, b, _)| b),
            gold_rows: counts.map(|(_, _, c)| c),
            requests,
            prompt_tokens: tokens,
            usd,
            train_flops: flops,
            wall_seconds: seconds,
            ..row()
        }
    }
}

proptest! {
    #[test]
    fn round_trip(rows in proptest::collection::vec(any_row(), 0..6)) {
        prop_assert_eq!(read(text(&rows).as_bytes(), "r.csv").unwrap(), rows);
    }
}
