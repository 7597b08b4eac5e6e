//! Today's date as chat templates ask for it: Python's `strftime`, in UTC.
use std::{
    fmt::Write,
    time::{SystemTime, UNIX_EPOCH},
};

const DAY: u64 = 24 * 60 * 60;
const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The present by `format`. The error is the part of it that is not known here.
pub(super) fn now(format: &str) -> Result<String, String> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    at(since.map_or(0, |since| since.as_secs()), format)
}

/// The time so many seconds after 1970 began.
fn at(seconds: u64, format: &str) -> Result<String, String> {
    let (days, second) = (seconds / DAY, seconds % DAY);
    let (year, month, day) = civil(days);
    let hour = second / 3600;
    let name = |names: &[&'static str], index: u64| {
        let index = usize::try_from(index).unwrap_or_default();
        names.get(index).copied().unwrap_or_default()
    };
    let (weekday, month_name) = (name(&DAYS, (days + 4) % 7), name(&MONTHS, month - 1));
    let mut text = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        let code = letters.next();
        // Writing to a text cannot fail.
        let _ = match code {
            Some('Y') => write!(text, "{year}"),
            Some('y') => write!(text, "{:02}", year % 100),
            Some('m') => write!(text, "{month:02}"),
            Some('d') => write!(text, "{day:02}"),
            Some('B') => write!(text, "{month_name}"),
            Some('b') => write!(text, "{month_name:.3}"),
            Some('A') => write!(text, "{weekday}"),
            Some('a') => write!(text, "{weekday:.3}"),
            Some('H') => write!(text, "{hour:02}"),
            Some('I') => write!(text, "{:02}", (hour + 11) % 12 + 1),
            Some('p') => write!(text, "{}", if hour < 12 { "AM" } else { "PM" }),
            Some('M') => write!(text, "{:02}", second / 60 % 60),
            Some('S') => write!(text, "{:02}", second % 60),
            Some('%') => write!(text, "%"),
            other => return Err(other.map_or_else(|| "%".to_owned(), |code| format!("%{code}"))),
        };
    }
    Ok(text)
}

/// Year, month and day of the day that begins so many days after 1970 did. Years are counted from
/// March, so that a leap day is the last one.
const fn civil(days: u64) -> (u64, u64, u64) {
    // 400 years have as many days as any other 400.
    const ERA: u64 = 146_097;
    let days = days + 719_468;
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1460 + day / 36_524 - day / (ERA - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year;
    (if month <= 2 { year + 1 } else { year }, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Python's `datetime.fromtimestamp(…, timezone.utc).strftime(…)` writes them.
    #[test]
    fn dates_are_those_of_python() {
        let format = "%A %a %d %B %b %Y %y %m %H:%M:%S %I %p %%";
        for (seconds, expected) in [
            (0, "Thursday Thu 01 January Jan 1970 70 01 00:00:00 12 AM %"),
            (
                951_782_399,
                "Monday Mon 28 February Feb 2000 00 02 23:59:59 11 PM %",
            ),
            (
                951_782_400,
                "Tuesday Tue 29 February Feb 2000 00 02 00:00:00 12 AM %",
            ),
            (
                1_735_732_800,
                "Wednesday Wed 01 January Jan 2025 25 01 12:00:00 12 PM %",
            ),
            (
                4_107_542_400,
                "Monday Mon 01 March Mar 2100 00 03 00:00:00 12 AM %",
            ),
        ] {
            assert_eq!(at(seconds, format).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_not_known_is_named() {
        assert_eq!(at(0, "%Y %q").unwrap_err(), "%q");
        assert_eq!(at(0, "%").unwrap_err(), "%");
    }
}
