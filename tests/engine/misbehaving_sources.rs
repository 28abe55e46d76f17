//! What the engine makes of a source that throttles, breaks, changes, repeats itself or says nothing, whatever source it
//! is: the ledger, under the test's control, and the real state machines. The rows of "Misbehaving sources" in
//! docs/guarantees.md that hold for every source.

use std::cell::RefCell;
use std::rc::Rc;

use crate::CONNECTORS;
use crate::support::deployment::define;
use crate::support::ledger::{self, IDS, Ledger};
use crate::support::world::{Step, World, finish};
use fivetran_do::control::connections::{Connection, SetupState, SyncState};
use fivetran_do::core::error::ErrorReport;
use fivetran_do::core::limits::{LEASE_MS, MAX_ATTEMPTS};
use fivetran_do::core::{Error, ErrorKind};
use fivetran_do::destinations::registry::DESTINATIONS;
use fivetran_do::engine::sync_control::RunProgress;
use fivetran_do::engine::{Registry, RemoteSyncs, StartRequest, SyncControl, Trigger};
use fivetran_do::ports::{LocalSql, SqlDatabase, SqlValue, Statement};

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;

/// More borders than any single call crosses.
const PATIENCE: usize = 100_000;

struct Deployment {
    world: World,
    ledger: Rc<RefCell<Ledger>>,
    connection: String,
}

impl Deployment {
    /// A connection to D1, and a ledger with a row under every id. It is due now.
    fn new() -> Self {
        let ledger = ledger::install();
        let world = World::new(Registry { connectors: &CONNECTORS, destinations: DESTINATIONS });
        let connection = finish(define(&world, "d1"), PATIENCE);
        let deployment = Self { world, ledger, connection };
        deployment.write(0..IDS, "first");
        deployment
    }

    fn write(&self, ids: std::ops::Range<i64>, value: &str) {
        let mut ledger = self.ledger.borrow_mut();
        let transaction = ledger.begin();
        ids.for_each(|id| ledger.write(transaction, id, value.to_owned()));
        ledger.commit(transaction);
    }

    /// What the next reads get; a number lets that many through.
    fn answers(&self, reads: &[Result<usize, ErrorReport>]) {
        let mut ledger = self.ledger.borrow_mut();
        for read in reads {
            match read {
                Ok(times) => ledger.answers.extend(std::iter::repeat_n(None, *times)),
                Err(error) => ledger.answers.push_back(Some(error.clone())),
            }
        }
    }

    fn start(&self, force: bool) {
        let syncs = RemoteSyncs::new(self.world.engine());
        let request = StartRequest { trigger: Trigger::Manual, due_at: None, force, scope: None };
        finish(syncs.start(&self.connection, request), PATIENCE).unwrap();
    }

    /// Delivers messages until there are none.
    fn work(&self) {
        loop {
            let message = self.world.0.queue.borrow_mut().pop();
            let Some(message) = message else { return };
            finish(self.world.worker(message), PATIENCE).unwrap();
        }
    }

    /// Time passes, a second at a time; alarms fire, the cron ticks each minute, and workers work.
    fn pass(&self, micros: i64) {
        let end = self.now() + micros;
        while self.now() < end {
            let before = self.now() / MINUTE;
            self.world.advance(SECOND.min(end - self.now()));
            self.world.fire_alarms();
            if self.now() / MINUTE > before {
                finish(self.world.engine().sweep(), PATIENCE).unwrap();
            }
            self.work();
        }
    }

    fn now(&self) -> i64 {
        self.world.0.now.get()
    }

    fn run(&self) -> RunProgress {
        finish(RemoteSyncs::new(self.world.engine()).progress(&self.connection), PATIENCE).unwrap().unwrap()
    }

    fn known(&self) -> Connection {
        finish(self.world.control().connection(&self.connection), PATIENCE).unwrap().unwrap()
    }

    fn handed_over(&self) -> u64 {
        self.ledger.borrow().handed_over
    }

    /// Asserts that the destination has every row of the ledger with its value, once.
    fn assert_equal(&self) {
        let sql = "SELECT id, value FROM model_public__ledger WHERE NOT _fivetran_deleted ORDER BY id";
        let result = finish(self.world.0.analytics.query(Statement::new(sql, vec![])), PATIENCE).unwrap();
        let there: Vec<_> = result
            .rows
            .iter()
            .map(|row| (row["id"].as_i64().unwrap(), row["value"].as_str().unwrap().to_owned()))
            .collect();
        let ledger = self.ledger.borrow();
        let expected: Vec<_> = ledger.rows.iter().map(|(id, (value, _))| (*id, value.clone())).collect();
        assert_eq!(there, expected);
    }
}

fn error(kind: ErrorKind) -> ErrorReport {
    ErrorReport::from(&Error::new(kind, "the source said so"))
}

fn throttled(minutes: u64) -> ErrorReport {
    ErrorReport::from(&Error::new(ErrorKind::SourceThrottled, "429").retry_after_ms(minutes * 60_000))
}

#[test]
fn a_throttled_run_is_rescheduled_for_the_time_asked_for_and_goes_on_from_what_is_durable() {
    let deployment = Deployment::new();
    // One chunk gets through, the next two are told to come back in 15 minutes.
    deployment.answers(&[Ok(1), Err(throttled(15)), Err(throttled(15))]);
    deployment.start(false);
    deployment.work();
    let run = deployment.run();
    assert_eq!((run.state.as_str(), run.tables[0].chunks_done), ("RUNNING", 1));
    assert_eq!(run.tables[0].error.as_ref().unwrap().kind, ErrorKind::SourceThrottled);
    let resumes = deployment.now() + 15 * MINUTE;
    let known = deployment.known();
    assert_eq!((known.sync_state, known.rescheduled_for), (SyncState::Rescheduled, Some(resumes)));
    let due = known.next_due_at.unwrap();
    assert!(due < resumes, "it is due every five minutes");

    // Neither the schedule nor a person wakes it early, and it costs no messages.
    deployment.pass(7 * MINUTE);
    deployment.start(false);
    deployment.work();
    deployment.pass(7 * MINUTE + 59 * SECOND);
    let known = deployment.known();
    assert_eq!((known.sync_state, known.rescheduled_for), (SyncState::Rescheduled, Some(resumes)));
    assert_eq!(known.next_due_at, Some(due), "the turn that passed is not lost");
    assert_eq!(deployment.handed_over(), 8);

    deployment.pass(SECOND);
    let done = deployment.run();
    assert_eq!((done.state.as_str(), &done.run_id), ("SUCCESSFUL", &run.run_id), "it is the same run");
    assert_eq!(deployment.handed_over(), IDS as u64, "what was durable is not read again");
    deployment.assert_equal();
    let known = deployment.known();
    assert_eq!((known.sync_state, known.rescheduled_for), (SyncState::Scheduled, None));

    // The missed turn is served at the next minute.
    deployment.pass(MINUTE);
    assert_ne!(deployment.run().run_id, run.run_id);
    assert!(deployment.known().next_due_at.unwrap() > deployment.now());
}

#[test]
fn a_rescheduled_run_can_be_replaced_by_force() {
    let deployment = Deployment::new();
    deployment.answers(&vec![Err(throttled(15)); 3]);
    deployment.start(false);
    deployment.work();
    let resting = deployment.run();
    assert_eq!(deployment.known().sync_state, SyncState::Rescheduled);
    deployment.start(true);
    deployment.work();
    deployment.pass(SECOND);
    let run = deployment.run();
    assert_ne!(run.run_id, resting.run_id);
    assert_eq!(run.state, "SUCCESSFUL");
    deployment.assert_equal();
    assert_eq!(deployment.known().rescheduled_for, None);
}

#[test]
fn a_source_that_goes_on_throttling_ends_the_run_rescheduled_for_when_it_asked() {
    for (minutes, wait) in [(10, 10 * MINUTE), (0, MINUTE)] {
        let deployment = Deployment::new();
        let refusals = vec![Err(throttled(minutes)); 3 * MAX_ATTEMPTS as usize];
        deployment.answers(&refusals);
        deployment.start(false);
        deployment.work();
        let mut waited = 0;
        while deployment.run().state == "RUNNING" {
            deployment.pass(SECOND);
            waited += 1;
            assert!(waited < 7_200);
        }
        assert_eq!(deployment.run().state, "RESCHEDULED");
        let known = deployment.known();
        assert_eq!(known.sync_state, SyncState::Rescheduled);
        assert_eq!(known.rescheduled_for, Some(deployment.now() + wait));
        assert_eq!(known.next_due_at, known.rescheduled_for);
        assert_eq!((known.succeeded_at, known.failed_at), (None, None), "neither success nor failure");
        deployment.ledger.borrow_mut().answers.clear();
        deployment.pass(wait + MINUTE);
        assert_eq!(deployment.run().state, "SUCCESSFUL");
        deployment.assert_equal();
    }
}

#[test]
fn a_storm_of_5xx_is_sat_out_with_growing_pauses() {
    let deployment = Deployment::new();
    let storm = vec![Err(error(ErrorKind::SourceUnavailable)); MAX_ATTEMPTS as usize - 1];
    deployment.answers(&[Ok(2)]);
    deployment.answers(&storm);
    deployment.start(false);
    deployment.work();
    let mut tries = Vec::new();
    for second in 0..60 {
        let left = deployment.ledger.borrow().answers.len();
        deployment.pass(SECOND);
        if deployment.ledger.borrow().answers.len() < left {
            tries.push(second);
        }
        assert_ne!(deployment.known().sync_state, SyncState::Rescheduled, "our own pauses are short");
    }
    let pauses: Vec<_> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.len() >= 3 && pauses.windows(2).all(|pair| pair[1] > pair[0]), "{tries:?}");
    assert_eq!(deployment.run().state, "SUCCESSFUL");
    deployment.assert_equal();
}

#[test]
fn i2_a_storm_that_does_not_end_is_a_failure_that_keeps_cursor_and_rows() {
    let deployment = Deployment::new();
    deployment.start(false);
    deployment.work();
    assert_eq!(deployment.run().state, "SUCCESSFUL");
    let before = deployment.handed_over();
    deployment.write(3..5, "second");
    deployment.answers(&vec![Err(error(ErrorKind::SourceUnavailable)); 2 * MAX_ATTEMPTS as usize]);
    deployment.start(false);
    deployment.work();
    deployment.pass(2 * MINUTE);
    let run = deployment.run();
    assert_eq!(run.state, "FAILURE");
    assert_eq!(run.error.unwrap().kind, ErrorKind::SourceUnavailable);
    let known = deployment.known();
    assert!(known.failed_at > known.succeeded_at);
    assert_eq!(known.sync_state, SyncState::Scheduled, "the schedule tries again");
    deployment.ledger.borrow_mut().answers.clear();
    deployment.start(false);
    deployment.work();
    assert_eq!(deployment.run().state, "SUCCESSFUL");
    assert_eq!(deployment.handed_over() - before, 2, "from the cursor of the last success");
    deployment.assert_equal();
}

#[test]
fn a_source_that_stays_away_becomes_a_task_for_a_person_until_it_is_back() {
    let deployment = Deployment::new();
    deployment.start(false);
    deployment.work();
    assert_eq!(deployment.run().state, "SUCCESSFUL");
    let well = deployment.now();
    // The schedule, every five minutes, goes on trying all the while.
    deployment.write(3..5, "second");
    deployment.ledger.borrow_mut().answers.extend(vec![Some(error(ErrorKind::SourceUnavailable)); 10_000]);
    let mut told = None;
    while told.is_none() && deployment.now() < well + 180 * MINUTE {
        deployment.pass(5 * MINUTE);
        let known = deployment.known();
        told = (!known.tasks.is_empty()).then(|| (deployment.now() - well) / MINUTE);
        assert_eq!(known.setup_state == SetupState::Broken, told.is_some());
    }
    assert!(told.is_some_and(|minutes| (60..=70).contains(&minutes)), "{told:?} minutes");
    let known = deployment.known();
    assert_eq!((known.tasks.len(), known.tasks[0].code.as_str()), (1, "source_unavailable"));
    let message = &known.tasks[0].message;
    assert!(message.contains("for an hour") && message.contains("the source said so"), "{message}");
    deployment.pass(2 * MINUTE);
    assert_eq!(deployment.run().state, "FAILURE", "the next run may well succeed");
    assert_eq!(deployment.known().sync_state, SyncState::Scheduled, "the schedule tries again");
    // Nobody need do anything but have it back.
    deployment.ledger.borrow_mut().answers.clear();
    deployment.pass(6 * MINUTE);
    let known = deployment.known();
    assert_eq!((known.setup_state, known.tasks.len()), (SetupState::Connected, 0));
    deployment.assert_equal();
}

#[test]
fn i5_a_source_that_claims_more_rows_than_it_hands_over_never_succeeds() {
    let deployment = Deployment::new();
    deployment.ledger.borrow_mut().overstates = 1;
    deployment.start(false);
    deployment.work();
    deployment.pass(3 * MINUTE);
    let run = deployment.run();
    assert_eq!(run.state, "FAILURE");
    assert_eq!(run.error.unwrap().kind, ErrorKind::Mismatch);
    assert_eq!(deployment.known().succeeded_at, None);
}

#[test]
fn pages_that_come_twice_leave_every_key_once() {
    let deployment = Deployment::new();
    deployment.ledger.borrow_mut().repeats_pages = true;
    deployment.start(false);
    deployment.work();
    let run = deployment.run();
    assert_eq!(run.state, "SUCCESSFUL");
    assert_eq!(run.tables[0].counts.read, 2 * IDS as u64);
    assert_eq!(run.tables[0].live_rows, Some(IDS as u64));
    deployment.assert_equal();
}

#[test]
fn a_source_that_changed_under_the_plan_is_planned_again_a_minute_later() {
    let deployment = Deployment::new();
    deployment.answers(&[
        Ok(1),
        Err(error(ErrorKind::SourceChanged)),
        Ok(1),
        Err(error(ErrorKind::SourceChanged)),
    ]);
    deployment.start(false);
    deployment.work();
    deployment.pass(3 * SECOND);
    let run = deployment.run();
    assert_eq!(run.state, "RESCHEDULED", "{run:#?}");
    assert_eq!(run.tables[0].error.as_ref().unwrap().kind, ErrorKind::SourceChanged);
    let known = deployment.known();
    assert_eq!(known.sync_state, SyncState::Rescheduled);
    let again = known.rescheduled_for.unwrap();
    assert!(again > deployment.now() && again <= deployment.now() + MINUTE);
    deployment.ledger.borrow_mut().wide = true;
    deployment.pass(3 * MINUTE);
    assert_eq!(deployment.run().state, "SUCCESSFUL");
    deployment.assert_equal();
}

#[test]
fn i4_a_source_that_is_silent_for_longer_than_a_lease_does_not_cost_its_worker_the_lease() {
    let deployment = Deployment::new();
    deployment.ledger.borrow_mut().silent = true;
    deployment.start(false);
    // Five leases long a worker hangs in the source while others look for work.
    let mut workers = Vec::new();
    for _ in 0..5 * LEASE_MS / 20_000 {
        let messages = deployment.world.0.queue.take();
        workers.extend(messages.into_iter().map(|message| deployment.world.worker(message)));
        workers.retain_mut(|worker| (0..200).all(|_| matches!(deployment.world.step(worker), Step::Waits)));
        deployment.world.advance(20 * SECOND);
        deployment.world.fire_alarms();
    }
    let leased = "SELECT group_concat(DISTINCT attempt) FROM orders WHERE state = 'leased'";
    let run_id = deployment.run().run_id;
    let attempts = deployment.world.0.syncs.borrow()[&run_id].exec(leased, &[]).unwrap();
    assert_eq!(attempts, [[SqlValue::Text("1".to_owned())]], "nobody took an order over");
    deployment.ledger.borrow_mut().silent = false;
    for _ in 0..PATIENCE {
        workers.retain_mut(|worker| matches!(deployment.world.step(worker), Step::Waits));
    }
    deployment.work();
    let run = deployment.run();
    assert_eq!(run.state, "SUCCESSFUL");
    assert_eq!(deployment.handed_over(), IDS as u64);
    deployment.assert_equal();
}
