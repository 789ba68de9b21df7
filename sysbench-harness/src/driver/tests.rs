//! The driver against a target in memory.

use super::*;
use crate::target::BatchResults;
use crate::workload::{Distribution, OperationKind, ValueShape, write_value};

/// Answers from the key itself; counts batches, and can corrupt, stall or fail.
#[derive(Clone, Default)]
struct Imagined {
    largest_batch: Arc<AtomicU64>,
    batches: Arc<AtomicU64>,
    corrupt_key: Option<u64>,
    stall_first_call: Option<Duration>,
    fail: bool,
}

struct ImaginedWorker {
    target: Imagined,
    value: Vec<u8>,
    calls: u64,
}

impl KeyTarget for Imagined {
    fn name(&self) -> &str {
        "imagined"
    }

    fn version(&self) -> &str {
        "1"
    }

    fn server_processes(&self) -> Vec<ServerProcess> {
        vec![ServerProcess { role: "self".to_owned(), process_id: std::process::id() }]
    }

    fn load(&mut self, _: &Workload, _: &mut dyn FnMut(u64)) -> Result<()> {
        Ok(())
    }

    fn worker(&self, workload: &Workload, _: usize) -> Result<Box<dyn KeyWorker>> {
        let value = vec![0; workload.shape.value_bytes()];
        Ok(Box::new(ImaginedWorker { target: self.clone(), value, calls: 0 }))
    }
}

impl KeyWorker for ImaginedWorker {
    fn execute(&mut self, batch: &[Operation], results: &mut BatchResults<'_>) -> Result<()> {
        self.target.largest_batch.fetch_max(batch.len() as u64, Ordering::Relaxed);
        self.target.batches.fetch_add(1, Ordering::Relaxed);
        anyhow::ensure!(!self.target.fail, "the connection is closed");
        if let (0, Some(stall)) = (self.calls, self.target.stall_first_call) {
            std::thread::sleep(stall);
        }
        self.calls += 1;
        for (index, operation) in batch.iter().enumerate() {
            match operation.kind {
                OperationKind::Update => results.updated(index),
                OperationKind::Read => {
                    write_value(operation.key, 0, &mut self.value);
                    if self.target.corrupt_key == Some(operation.key) {
                        self.value[50] ^= 4;
                    }
                    results.value(index, &self.value);
                }
            }
        }
        Ok(())
    }
}

fn workload() -> Workload {
    Workload {
        rows: 50,
        shape: ValueShape { columns: 5, column_bytes: 20 },
        distribution: Distribution::Uniform,
        mix: "read=80,update=20".parse().unwrap(),
        seed: 3,
    }
}

fn plan(length: Length) -> Plan {
    Plan {
        threads: 2,
        batch: 16,
        callers: 0,
        rate: None,
        whole_batches: false,
        length,
        warm_up: Duration::ZERO,
        verify: true,
    }
}

fn run(target: &Imagined, plan: &Plan) -> Result<Measurement> {
    let workload = workload();
    let chooser = KeyChooser::new(workload.distribution, workload.rows);
    drive(target, &workload, chooser, plan, &mut |share| assert!((0.0..=1.0).contains(&share)))
}

#[test]
fn a_number_of_operations_is_done_exactly() {
    let target = Imagined::default();
    let plan = Plan { warm_up: Duration::from_millis(1), ..plan(Length::Operations(10_001)) };
    let measurement = run(&target, &plan).unwrap();
    assert_eq!(measurement.operations, 10_001);
    assert_eq!(measurement.latencies.len(), 10_001);
    assert_eq!(measurement.answers.good, 10_001);
    assert_eq!(measurement.answers.bad(), 0);
    assert!((7_500..8_500).contains(&measurement.answers.verified));
    assert_eq!(target.largest_batch.load(Ordering::Relaxed), 16);
}

#[test]
fn a_time_ends_and_cpu_time_is_accounted() {
    let measurement = run(&Imagined::default(), &plan(Length::Time(Duration::from_millis(50)))).unwrap();
    assert!(measurement.operations > 0);
    assert!(measurement.elapsed > Duration::ZERO);
    assert_eq!(measurement.server_cpu.len(), 1);
    assert!(measurement.client_cpu > Duration::ZERO);
}

#[test]
fn a_corrupted_value_is_counted() {
    let target = Imagined { corrupt_key: Some(7), ..Imagined::default() };
    let measurement = run(&target, &plan(Length::Operations(5_000))).unwrap();
    assert!(measurement.answers.wrong > 0);
    assert!(measurement.answers.first_complaint.unwrap().starts_with("key 7: byte 50 "));
}

#[test]
fn an_open_loop_counts_a_stall_for_every_operation_that_was_due() {
    let stall = Duration::from_millis(100);
    let target = Imagined { stall_first_call: Some(stall), ..Imagined::default() };
    let plan = Plan { threads: 1, rate: Some(10_000.0), ..plan(Length::Operations(2_000)) };
    let measurement = run(&target, &plan).unwrap();
    assert_eq!(measurement.operations, 2_000);
    // About 1000 operations became due in the 100 ms: half of them waited 50 ms or more. A closed loop would
    // have seen one slow call.
    let slow = measurement.latencies.count_between(50_000_000, LONGEST_NS);
    assert!(slow >= 450, "{slow}");
}

#[test]
fn whole_batches_start_together_and_count_every_operation() {
    let target = Imagined::default();
    let length = Length::Operations(167);
    let plan = Plan { threads: 1, rate: Some(100_000.0), whole_batches: true, ..plan(length) };
    let measurement = run(&target, &plan).unwrap();
    assert_eq!((measurement.operations, measurement.latencies.len()), (167, 167));
    // Ten whole ones and the rest; single operations would go in smaller ones while less was due.
    assert_eq!(target.batches.load(Ordering::Relaxed), 11);
}

#[test]
fn an_open_loop_that_cannot_keep_up_tells_what_was_not_sent() {
    let stall = Duration::from_millis(60);
    let target = Imagined { stall_first_call: Some(stall), ..Imagined::default() };
    let length = Length::Time(Duration::from_millis(50));
    let plan = Plan { threads: 1, rate: Some(10_000.0), ..plan(length) };
    let measurement = run(&target, &plan).unwrap();
    assert!(measurement.unsent > 400, "{}", measurement.unsent);
}

#[test]
fn a_failed_connection_ends_the_run_with_its_reason() {
    let target = Imagined { fail: true, ..Imagined::default() };
    let error = run(&target, &plan(Length::Operations(100))).unwrap_err();
    assert!(format!("{error:#}").contains("the connection is closed"), "{error:#}");
}

/// A client that lets its callers take turns.
struct ImaginedShared(ImaginedWorker);

impl SharedClient for ImaginedShared {
    fn run(&mut self, mut callers: Vec<Caller>) -> Result<Vec<Caller>> {
        let mut active = true;
        while active {
            active = false;
            for caller in &mut callers {
                let Some(operation) = caller.begin() else { continue };
                active = true;
                let mut failure = Ok(());
                caller.end(|results| failure = self.0.execute(&[operation], results));
                failure?;
            }
        }
        Ok(callers)
    }
}

#[derive(Clone)]
struct Shareable(Imagined);

impl KeyTarget for Shareable {
    fn name(&self) -> &str {
        "shareable"
    }

    fn version(&self) -> &str {
        "1"
    }

    fn server_processes(&self) -> Vec<ServerProcess> {
        Vec::new()
    }

    fn load(&mut self, _: &Workload, _: &mut dyn FnMut(u64)) -> Result<()> {
        Ok(())
    }

    fn worker(&self, _: &Workload, _: usize) -> Result<Box<dyn KeyWorker>> {
        anyhow::bail!("the callers share a client")
    }

    fn shared_client(&self) -> Result<Option<Box<dyn SharedClient>>> {
        let worker = ImaginedWorker { target: self.0.clone(), value: vec![0; 100], calls: 0 };
        Ok(Some(Box::new(ImaginedShared(worker))))
    }
}

#[test]
fn callers_share_a_client_or_have_threads_of_their_own() {
    let imagined = Imagined::default();
    let shareable = Shareable(imagined.clone());
    let targets: [&dyn KeyTarget; 2] = [&imagined, &shareable];
    for target in targets {
        let plan = Plan { callers: 7, warm_up: Duration::from_millis(1), ..plan(Length::Operations(1_001)) };
        let workload = workload();
        let chooser = KeyChooser::new(workload.distribution, workload.rows);
        let measurement = drive(target, &workload, chooser, &plan, &mut |_| {}).unwrap();
        assert_eq!((measurement.operations, measurement.latencies.len()), (1_001, 1_001));
        assert_eq!((measurement.answers.good, measurement.answers.bad()), (1_001, 0));
        assert_eq!(imagined.largest_batch.load(Ordering::Relaxed), 1);
    }
}
