//! Which language a message is in: lookup as RFC 4647 §3.4 has it.

/// Longest language tag that is looked at, in bytes; RFC 5646 §4.4.1 asks for at least 35.
const TAG_BYTES_MAX: usize = 64;

/// `tag` and what is left of it when subtags fall off its end, longest first. A single letter or
/// digit falls with what followed it: it only introduced that. None for what is no language tag.
pub(crate) fn ranges(tag: &str) -> Vec<&str> {
    let is_tag = tag.len() <= TAG_BYTES_MAX
        && tag.split('-').all(|part| {
            (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
    let mut found = Vec::new();
    let mut rest = is_tag.then_some(tag);
    while let Some(range) = rest {
        found.push(range);
        rest = range.rsplit_once('-').map(|(before, _)| match before.rsplit_once('-') {
            Some((shorter, last)) if last.len() == 1 => shorter,
            _ => before,
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falls_back_as_the_rfc_shows() {
        let all = ["zh-Hant-CN-x-private1-private2", "zh-Hant-CN-x-private1", "zh-Hant-CN"];
        let mut wanted = all.to_vec();
        wanted.extend(["zh-Hant", "zh"]);
        assert_eq!(ranges("zh-Hant-CN-x-private1-private2"), wanted);
        assert_eq!(ranges("de-CH"), ["de-CH", "de"]);
        assert_eq!(ranges("en"), ["en"]);
        for bad in ["", "*", "de_CH", "de-", "de-\r\n", &"a-".repeat(40)] {
            assert!(ranges(bad).is_empty(), "{bad:?}");
        }
    }
}
