//! What the headers of an answer say about the file that comes.
use hyper::header::{CONTENT_RANGE, ETAG, HeaderMap};

/// The file's tag, where it stands for each single byte.
pub(super) fn tag(headers: &HeaderMap) -> Option<String> {
    let tag = headers.get(ETAG)?.to_str().ok()?;
    (!tag.starts_with("W/")).then(|| tag.to_owned())
}

/// Whether an answer is of another version than the one with this tag.
pub(super) fn is_other_version(headers: &HeaderMap, known: Option<&str>) -> bool {
    matches!((tag(headers), known), (Some(now), Some(known)) if now != known)
}

/// The first byte and, where it is known, the whole length, of `bytes 5-9/10`.
pub(super) fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, total.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_range_tells_where_it_begins_and_how_long_the_file_is() {
        for (text, range) in [
            ("bytes 5-9/10", Some((5, Some(10)))),
            ("bytes 5-9/*", Some((5, None))),
            ("bytes */10", None),
            ("items 1-2/3", None),
        ] {
            assert_eq!(content_range(&headers(CONTENT_RANGE, text)), range);
        }
    }

    #[test]
    fn a_weak_tag_is_none() {
        assert_eq!(tag(&headers(ETAG, "W/\"1\"")), None);
        assert_eq!(tag(&headers(ETAG, "\"1\"")).unwrap(), "\"1\"");
    }

    #[test]
    fn a_version_is_another_only_where_both_are_known() {
        let headers = headers(ETAG, "\"1\"");
        assert!(is_other_version(&headers, Some("\"2\"")));
        assert!(!is_other_version(&headers, Some("\"1\"")));
        assert!(!is_other_version(&headers, None));
        assert!(!is_other_version(&HeaderMap::new(), Some("\"2\"")));
    }
}
