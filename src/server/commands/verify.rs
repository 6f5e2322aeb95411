//! `verify`: reads every record of a log that nobody has open, and names the bad ones.
//! Changes nothing.

use std::process::ExitCode;

use eventlog::embedded::verify::{Bad, verify};

use crate::cli::Storage;

pub(super) fn run(storage: &Storage) -> anyhow::Result<ExitCode> {
    let loaded = super::configuration(&storage.config, super::data_flags(storage)?)?;
    let folder = super::log_folder(&loaded.config)?;
    let bar = super::progress::bytes("verify", 0);
    let report = verify(&folder, &mut |progress| {
        bar.set_length(progress.bytes_total);
        bar.set_position(progress.bytes);
    })?;
    super::progress::done(&bar, report.records, "good records");
    println!("{} partitions, {} segments", report.partitions, report.segments);
    for bad in &report.bad {
        println!("{}", line(bad));
    }
    if report.bad.is_empty() {
        println!("every record is as it was written");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

fn line(bad: &Bad) -> String {
    let range = match bad.next {
        Some(next) if next == bad.first + 1 => format!("offset {}", bad.first),
        Some(next) => format!("offsets {} to {}", bad.first, next.saturating_sub(1)),
        None => format!("offset {} and what follows", bad.first),
    };
    let kind = if bad.torn { "torn by a crash, the next start drops it" } else { "bad" };
    let (partition, file) = (bad.partition, bad.file.display());
    format!("partition {partition}: {range}: {kind} ({}, {file} byte {})", bad.detail, bad.byte)
}

#[cfg(test)]
mod tests {
    use domain::PartitionId;
    use eventlog::embedded::verify::Bad;

    #[test]
    fn a_bad_range_is_named() {
        let mut bad = Bad {
            partition: PartitionId(2),
            first: 7,
            next: Some(8),
            file: "f".into(),
            byte: 9,
            detail: "checksum".to_owned(),
            torn: false,
        };
        assert_eq!(super::line(&bad), "partition 2: offset 7: bad (checksum, f byte 9)");
        bad.next = Some(10);
        assert!(super::line(&bad).contains("offsets 7 to 9: bad"));
        bad.next = None;
        assert!(super::line(&bad).contains("offset 7 and what follows"));
    }
}
