//! An event's JSON form: what `from_json` takes, `to_json` must write so that it reads back
//! equal, and no input panics.
#![no_main]

use domain::event::cloudevents::{from_json, to_json};
use domain::{PartitionId, Position, Recorded};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok((position, event)) = from_json(text) else { return };
    let position = position.unwrap_or(Position { partition: PartitionId(0), offset: 0 });
    let recorded = Recorded { position, event };
    let printed = to_json(&recorded);
    let (position, event) = from_json(&printed)
        .unwrap_or_else(|error| panic!("refuses what it wrote: {error}\n{printed}"));
    assert_eq!(position, Some(recorded.position), "{printed}");
    assert_eq!(event, recorded.event, "{printed}");
});
