//! Plots, as SVG.

use super::stats::Stats;
use anyhow::{Result, anyhow};
use plotters::prelude::*;
use relpoline_layout::record::WAYS;

const SIZE: (u32, u32) = (560, 300);
const FONT: (&str, u32) = ("sans-serif", 13);

/// States, in the order of the plots, with the colours that they have everywhere.
pub const STATES: [(&str, RGBColor); 5] = [
    ("monomorphic", RGBColor(44, 127, 73)),
    ("polymorphic", RGBColor(43, 108, 176)),
    ("megamorphic", RGBColor(197, 93, 20)),
    ("learning", RGBColor(128, 128, 128)),
    ("off", RGBColor(60, 60, 60)),
];

/// A plot and what it shows.
pub struct Plot {
    pub title: &'static str,
    pub svg: String,
}

/// All plots of the statistics.
pub fn plots(stats: &Stats) -> Result<Vec<Plot>> {
    let plot = |title, draw: &dyn Fn(&Area) -> Result<(), Error>| -> Result<Plot> {
        let mut svg = String::new();
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        draw(&area).and_then(|()| area.present()).map_err(|error| anyhow!("{title}: {error}"))?;
        drop(area);
        Ok(Plot { title, svg })
    };
    let totals = &stats.totals;
    let states = [totals.monomorphic, totals.polymorphic, totals.megamorphic, totals.learning, totals.off];
    // Those that cannot be told apart are counted with the last.
    let mut targets = [0; WAYS];
    let mut slow: Vec<u64> = stats.sites.iter().map(|site| site.calls).filter(|&calls| calls > 0).collect();
    slow.sort_unstable_by_key(|&calls| std::cmp::Reverse(calls));
    for site in stats.sites.iter().filter(|site| !site.targets.is_empty()) {
        targets[site.targets.len().min(WAYS) - 1] += 1;
    }
    let state_bars: Vec<_> =
        STATES.iter().zip(states).map(|(state, count)| (state.0.into(), count, state.1)).collect();
    let target_bars: Vec<_> = targets
        .iter()
        .enumerate()
        .map(|(index, &count)| ((index + 1).to_string(), count, STATES[usize::from(index > 0)].1))
        .collect();
    let mut all = vec![
        plot("Sites that have run, by state", &|area| bars(area, &state_bars, "sites"))?,
        plot("Targets that sites were seen to call", &|area| bars(area, &target_bars, "sites"))?,
    ];
    if !slow.is_empty() {
        all.push(plot("Share of all slow calls, the busiest sites first", &|area| shares(area, &slow))?);
    }
    Ok(all)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Error = DrawingAreaErrorKind<std::io::Error>;

/// A bar for each name.
fn bars(area: &Area, bars: &[(String, u64, RGBColor)], unit: &str) -> Result<(), Error> {
    let most = bars.iter().map(|bar| bar.1).max().unwrap_or_default().max(1);
    let name = |position: &SegmentValue<usize>| match position {
        SegmentValue::CenterOf(index) => bars.get(*index).map_or(String::new(), |bar| bar.0.clone()),
        _ => String::new(),
    };
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(56)
        .build_cartesian_2d((0..bars.len().saturating_sub(1)).into_segmented(), 0.0..1.1 * most as f64)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_labels(bars.len() + 1)
        .x_label_formatter(&name)
        .y_label_formatter(&whole)
        .y_desc(unit)
        .label_style(FONT)
        .draw()?;
    chart.draw_series(bars.iter().enumerate().map(|(index, bar)| {
        let corners = [(SegmentValue::Exact(index), 0.0), (SegmentValue::Exact(index + 1), bar.1 as f64)];
        let mut bar = Rectangle::new(corners, bar.2.filled());
        bar.set_margin(0, 0, 6, 6);
        bar
    }))?;
    Ok(())
}

/// Axes count in floating point: those of integers overflow where the range is short. No label between whole numbers.
fn whole(number: &f64) -> String {
    if number.fract() == 0.0 { number.to_string() } else { String::new() }
}

/// What share of the sum the first entries make up.
fn shares(area: &Area, values: &[u64]) -> Result<(), Error> {
    let sum: u128 = values.iter().copied().map(u128::from).sum();
    let mut so_far = 0;
    let mut points: Vec<(f64, f64)> = std::iter::once((0.0, 0.0))
        .chain(values.iter().enumerate().map(|(index, value)| {
            so_far += u128::from(*value);
            ((index + 1) as f64, 100.0 * so_far as f64 / sum as f64)
        }))
        .collect();
    // About two for each point of the plot, and the last one.
    let every = points.len().div_ceil(2 * SIZE.0 as usize);
    let last = points.len() - 1;
    let mut at = 0..;
    points.retain(|_| at.next().is_some_and(|at| at % every == 0 || at == last));
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..values.len() as f64, 0.0..100.0)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_label_formatter(&whole)
        .x_desc("sites")
        .y_desc("per cent of the slow calls")
        .label_style(FONT)
        .draw()?;
    chart.draw_series(AreaSeries::new(points, 0.0, STATES[1].1.mix(0.3)).border_style(STATES[1].1))?;
    Ok(())
}
