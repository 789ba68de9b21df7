//! Days and dates of the proleptic Gregorian calendar.

/// Microseconds in a day.
pub const MICROSECONDS_PER_DAY: i64 = 86_400_000_000;

/// Days since 1970-01-01 of a date, or `None` when there is no such date or its year is not in
/// `-9999..=9999`.
///
/// Algorithm: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
#[must_use]
pub fn days_from_civil(year: i32, month: u32, day: u32) -> Option<i32> {
    const DAYS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = *DAYS.get(month.checked_sub(1)? as usize)?;
    if !(-9999..=9999).contains(&year) || !(1..=longest).contains(&day) || (month == 2 && day == 29 && !leap)
    {
        return None;
    }
    // Years begin in March, so that the leap day is the last day of the year.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = ((153 * ((month + 9) % 12) + 2) / 5 + day - 1) as i32;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// Year, month (1–12) and day (1–31) of a number of days since 1970-01-01.
///
/// Algorithm: Howard Hinnant, `civil_from_days`.
#[must_use]
pub fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let shifted = i128::from(days) + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + i128::from(month <= 2);
    (year as i64, month as u32, day as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        assert_eq!(days_from_civil(1970, 1, 1), Some(0));
        assert_eq!(days_from_civil(2000, 2, 29), Some(11_016));
        assert_eq!(days_from_civil(1, 1, 1), Some(-719_162));
        assert_eq!(days_from_civil(9999, 12, 31), Some(2_932_896));
        assert_eq!(days_from_civil(1900, 2, 29), None);
        assert_eq!(days_from_civil(2013, 13, 1), None);
        assert_eq!(days_from_civil(2013, 0, 1), None);
        assert_eq!(days_from_civil(2013, 4, 31), None);
    }

    #[test]
    fn every_day_comes_back() {
        for days in (-719_162..=2_932_896).step_by(17) {
            let (year, month, day) = civil_from_days(i64::from(days));
            assert_eq!(days_from_civil(year as i32, month, day), Some(days));
        }
        // Extremes must not overflow.
        let _ = civil_from_days(i64::MIN);
        let _ = civil_from_days(i64::MAX);
    }
}
