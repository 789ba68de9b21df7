//! Bar charts as inline SVG.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const LABEL_WIDTH: f64 = 150.0;
const VALUE_WIDTH: f64 = 90.0;
const BAR_HEIGHT: f64 = 16.0;
const BAR_GAP: f64 = 4.0;
const GROUP_GAP: f64 = 12.0;

/// How the length of a bar follows from its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// In proportion.
    Linear,
    /// By its logarithm, from the smallest power of ten below all values.
    Logarithmic,
}

/// Bars of one target.
pub(super) struct Group {
    pub(super) label: String,
    /// Value, colour class and name of each bar.
    pub(super) bars: Vec<Bar>,
}

/// One bar, made of parts that lie one behind the other.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) parts: Vec<(f64, &'static str)>,
}

/// Text that is safe in HTML and SVG.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn total(bar: &Bar) -> f64 {
    bar.parts.iter().map(|(value, _)| value).sum()
}

/// A chart with horizontal bars; `unit` follows every value.
pub(super) fn bars(title: &str, unit: &str, groups: &[Group], scale: Scale) -> String {
    let values = || groups.iter().flat_map(|group| &group.bars).map(total).filter(|value| *value > 0.0);
    let largest = values().fold(0.0, f64::max);
    let smallest = values().fold(f64::INFINITY, f64::min);
    let floor = if smallest.is_finite() { smallest.log10().floor() } else { 0.0 };
    let room = WIDTH - LABEL_WIDTH - VALUE_WIDTH;
    let length = |value: f64| {
        if value <= 0.0 || largest <= 0.0 {
            return 0.0;
        }
        match scale {
            Scale::Linear => room * value / largest,
            Scale::Logarithmic => {
                let span = (largest.log10() - floor).max(f64::EPSILON);
                room * (value.log10() - floor).max(0.0) / span
            }
        }
    };
    let count: usize = groups.iter().map(|group| group.bars.len()).sum();
    let height = count as f64 * (BAR_HEIGHT + BAR_GAP) + groups.len() as f64 * (GROUP_GAP + BAR_HEIGHT);
    let mut svg = format!(
        "<figure><figcaption>{}</figcaption><svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\n",
        escape(title),
        escape(title)
    );
    let mut y = 0.0;
    for group in groups {
        y += GROUP_GAP;
        // Writing to a string cannot fail.
        let _ = writeln!(
            svg,
            "<text class=\"group\" x=\"0\" y=\"{:.1}\">{}</text>",
            y + BAR_HEIGHT - BAR_GAP,
            escape(&group.label)
        );
        y += BAR_HEIGHT;
        for bar in &group.bars {
            append_bar(&mut svg, bar, y, unit, &length);
            y += BAR_HEIGHT + BAR_GAP;
        }
    }
    svg.push_str("</svg></figure>\n");
    svg
}

fn append_bar(svg: &mut String, bar: &Bar, y: f64, unit: &str, length: &dyn Fn(f64) -> f64) {
    let baseline = y + BAR_HEIGHT - BAR_GAP;
    let _ = writeln!(
        svg,
        "<text class=\"name\" x=\"{:.1}\" y=\"{baseline:.1}\">{}</text>",
        LABEL_WIDTH - 8.0,
        escape(&bar.name)
    );
    let mut sum = 0.0;
    for (value, class) in &bar.parts {
        let start = length(sum);
        sum += value;
        let _ = writeln!(
            svg,
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR_HEIGHT}\"/>",
            LABEL_WIDTH + start,
            (length(sum) - start).max(0.5)
        );
    }
    let digits = if sum < 10.0 { 3 } else { 1 };
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{baseline:.1}\">{sum:.digits$} {}</text>",
        LABEL_WIDTH + length(sum) + 6.0,
        escape(unit)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widths(svg: &str) -> Vec<f64> {
        let rectangles = svg.split("<rect ").skip(1);
        rectangles
            .map(|text| text.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect()
    }

    fn chart(values: &[f64], scale: Scale) -> String {
        let bars =
            values.iter().map(|value| Bar { name: "<b>".to_owned(), parts: vec![(*value, "one")] }).collect();
        super::bars("t & t", "µs", &[Group { label: "g".to_owned(), bars }], scale)
    }

    #[test]
    fn bars_are_in_proportion_and_text_is_escaped() {
        let svg = chart(&[1.0, 2.0, 4.0], Scale::Linear);
        assert_eq!(widths(&svg), [120.0, 240.0, 480.0]);
        assert!(svg.contains("t &amp; t") && svg.contains("&lt;b&gt;") && !svg.contains("<b>"));
    }

    #[test]
    fn logarithmic_bars_grow_by_the_same_step_for_the_same_ratio() {
        assert_eq!(widths(&chart(&[10.0, 100.0, 1000.0], Scale::Logarithmic)), [0.5, 240.0, 480.0]);
    }

    #[test]
    fn nothing_and_zero_are_drawn_without_infinite_numbers() {
        for svg in
            [chart(&[], Scale::Linear), chart(&[0.0], Scale::Logarithmic), chart(&[5.0], Scale::Logarithmic)]
        {
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}
