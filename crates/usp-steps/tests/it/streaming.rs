use std::io::{Error, ErrorKind, Read};

use serde_json::json;
use usp_steps::StepError;

use crate::stand::{Repeated, Watcher, file, run, step};

const STEPS: [&str; 3] = ["digest", "profile", "validate"];

fn any(uses: &str) -> Box<dyn usp_steps::Step> {
    step(uses, if uses == "validate" { json!({"columns": [{"name": "a"}]}) } else { json!({}) })
}

#[test]
fn progress_is_told_in_pieces_and_ends_at_the_size() {
    for uses in STEPS {
        let watcher = Watcher::default();
        any(uses).run(&file("a.csv"), &mut Repeated::new("a,b\n1,2\n", 100_000), &watcher).unwrap();
        let told = watcher.told.borrow();
        assert_eq!(told.last(), Some(&800_000), "{uses}");
        let steps = told.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(steps.clone().all(|step| step <= 262_144) && told.len() == 4, "{uses}: {told:?}");
    }
}

#[test]
fn cancelling_ends_a_step_at_its_next_read() {
    for uses in STEPS {
        let watcher = Watcher::default();
        watcher.cancel_at.set(Some(1_000_000));
        let result = any(uses).run(&file("a.csv"), &mut Repeated::new("a,b\n1,2\n", u64::MAX / 8), &watcher);
        assert_eq!(result, Err(StepError::Cancelled), "{uses}");
        assert!(*watcher.told.borrow().last().unwrap() < 1_300_000, "{uses}");
    }
}

#[test]
fn a_failed_read_is_worth_a_retry_and_an_interrupted_one_goes_on() {
    struct Failing(u32);
    impl Read for Failing {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            self.0 += 1;
            match self.0 {
                1 => Err(Error::from(ErrorKind::Interrupted)),
                2 => Ok(into.len().min(3)),
                _ => Err(Error::new(ErrorKind::ConnectionReset, "the line is gone")),
            }
        }
    }
    for uses in STEPS {
        let error = run(any(uses).as_ref(), "a.csv", &mut Failing(0)).unwrap_err();
        let expected = "reading the content failed at byte 3: the line is gone";
        assert_eq!(error, StepError::Temporary(expected.to_owned()), "{uses}");
    }
}

#[test]
fn sniff_reads_no_more_than_the_head() {
    let watcher = Watcher::default();
    step("sniff", json!({}))
        .run(&file("a"), &mut Repeated::new("a,b\n1,2\n", u64::MAX / 8), &watcher)
        .unwrap();
    assert_eq!(*watcher.told.borrow(), [262_144]);
}
