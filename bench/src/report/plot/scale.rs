//! From values to places, with round ticks.

/// Which places stand for which values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    values: (f64, f64),
    places: (f64, f64),
    logarithmic: bool,
}

impl Scale {
    /// Even, from 0 or below to a round number above `most`.
    pub(super) fn even((least, most): (f64, f64), places: (f64, f64)) -> Self {
        let most = if most > least { most } else { least + 1.0 };
        let step = round_step((most - least) / 5.0);
        Self {
            values: (least, (most / step).ceil() * step),
            places,
            logarithmic: false,
        }
    }

    /// By powers of ten, from a round number below `least` to one above `most`.
    pub(super) fn logarithmic((least, most): (f64, f64), places: (f64, f64)) -> Self {
        let least = least.max(1e-9);
        let most = most.max(least * 1.5);
        Self {
            values: (lower(least), upper(most)),
            places,
            logarithmic: true,
        }
    }

    /// The place of a value; outside values are put at the edge.
    pub(super) fn place(&self, value: f64) -> f64 {
        let (least, most) = self.values;
        let value = value.clamp(least, most);
        let share = if self.logarithmic {
            (value / least).ln() / (most / least).ln()
        } else {
            (value - least) / (most - least)
        };
        self.places.0 + share * (self.places.1 - self.places.0)
    }

    /// Round values for ticks.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let (least, most) = self.values;
        if self.logarithmic {
            return logarithmic_ticks(least, most);
        }
        let step = round_step((most - least) / 5.0);
        (0..12u32)
            .map(|place| least + f64::from(place) * step)
            .take_while(|value| *value <= most * (1.0 + 1e-9))
            .collect()
    }
}

fn logarithmic_ticks(least: f64, most: f64) -> Vec<f64> {
    let decades = (most / least).log10();
    let factors: &[f64] = if decades > 3.0 {
        &[1.0]
    } else {
        &[1.0, 2.0, 5.0]
    };
    let first = power(least);
    let powers = (0..16i32).map(|place| first * 10f64.powi(place));
    powers
        .flat_map(|power| factors.iter().map(move |factor| power * factor))
        .filter(|value| *value >= least * (1.0 - 1e-9) && *value <= most * (1.0 + 1e-9))
        .collect()
}

/// The power of ten at or below a value.
fn power(value: f64) -> f64 {
    10f64.powf(value.log10().floor())
}

/// 1, 2 or 5 times a power of ten, at or below a value.
fn lower(value: f64) -> f64 {
    let power = power(value);
    let factor = [5.0, 2.0, 1.0]
        .into_iter()
        .find(|factor| factor * power <= value);
    factor.unwrap_or(1.0) * power
}

/// The same at or above.
fn upper(value: f64) -> f64 {
    let power = power(value);
    let factor = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|factor| factor * power >= value);
    factor.unwrap_or(10.0) * power
}

fn round_step(step: f64) -> f64 {
    upper(step.max(1e-12))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_ticks_are_round_and_end_above_the_largest_value() {
        let scale = Scale::even((0.0, 87.0), (0.0, 100.0));
        assert_eq!(scale.ticks(), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert!((scale.place(50.0) - 50.0).abs() < 1e-9);
    }

    #[test]
    fn logarithmic_ticks_are_1_2_5() {
        let scale = Scale::logarithmic((12.0, 90.0), (100.0, 0.0));
        assert_eq!(scale.ticks(), [10.0, 20.0, 50.0, 100.0]);
        assert!((scale.place(10.0) - 100.0).abs() < 1e-9);
        assert!(scale.place(100.0).abs() < 1e-9);
    }

    #[test]
    fn values_outside_and_empty_ranges_stay_on_the_drawing() {
        let scale = Scale::logarithmic((0.0, 0.0), (0.0, 10.0));
        assert!(scale.place(0.0).is_finite());
        let scale = Scale::even((0.0, 0.0), (0.0, 10.0));
        assert!((scale.place(99.0) - 10.0).abs() < 1e-9);
    }
}
