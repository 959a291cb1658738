//! The report as a page with plots, in one file that opens without a network.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;

use super::{Percentiles, Report, figures, number};
use crate::run::measure::Sample;

/// Size of a plot, in pixels.
const SIZE: (u32, u32) = (760, 320);

/// What the page looks like.
const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;max-width:800px;margin:2rem auto;padding:0 1rem;color:#1f2328}\
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin:2rem 0 .3rem}\
p.about{color:#57606a;margin:.2rem 0}code{font-size:.85em;overflow-wrap:anywhere}\
ul{padding-left:0;list-style:none}li.pass::before{content:'pass ';color:#1a7f37;font-weight:600}\
li.fail::before{content:'FAIL ';color:#cf222e;font-weight:600}li.note::before{content:'note ';color:#9a6700;font-weight:600}\
table{border-collapse:collapse;width:100%}td{padding:.2rem .5rem;border-bottom:1px solid #d8dee4}\
td.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}td.key{color:#57606a;font-size:.85em}\
svg{max-width:100%;height:auto}";

/// Writes the page.
///
/// # Errors
/// Where the file cannot be written.
pub fn write(report: &Report, path: &Path) -> Result<(), String> {
    let page = page(report).map_err(|error| format!("cannot draw the report: {error}"))?;
    fs::write(path, page).map_err(|error| format!("{}: {error}", path.display()))
}

type Drawn<T> = Result<T, Box<dyn std::error::Error>>;

fn page(report: &Report) -> Drawn<String> {
    let title = escape(&format!("{} against {}", report.scenario, report.server));
    let machine = &report.machine;
    let about = escape(&format!(
        "{}, {} cores, {:.0} GiB, Linux {}",
        machine.cpu, machine.cores, machine.memory_gib, machine.kernel
    ));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n\
         <p class=\"about\">{about}</p>\n<p class=\"about\"><code>{}</code></p>\n<ul>\n",
        escape(&report.command)
    );
    for verdict in &report.verdicts {
        let class = if verdict.passed { "pass" } else { "fail" };
        writeln!(page, "<li class=\"{class}\">{}</li>", escape(&verdict.text))?;
    }
    for warning in &report.warnings {
        writeln!(page, "<li class=\"note\">{}</li>", escape(warning))?;
    }
    page.push_str("</ul>\n");
    for (title, plot) in plots(report)? {
        writeln!(page, "<h2>{title}</h2>\n{plot}")?;
    }
    page.push_str("<h2>Figures</h2>\n<table>\n");
    for figure in figures::ALL {
        if let Some(value) = report.figures.get(figure.key) {
            writeln!(
                page,
                "<tr><td>{}</td><td class=\"key\">{}</td><td class=\"number\">{}</td></tr>",
                escape(figure.about),
                figure.key,
                number(*value)
            )?;
        }
    }
    page.push_str("</table>\n</body></html>\n");
    Ok(page)
}

/// The plots for which there is something to draw.
fn plots(report: &Report) -> Drawn<Vec<(&'static str, String)>> {
    let mut plots = Vec::new();
    if report.percentiles.len() > 1 {
        let all = [("", &report.percentiles)];
        plots.push(("Latency by percentile, ms", by_percentile(&all)?));
    }
    let steps = report.setup.iter();
    let steps: Vec<(&str, &Percentiles)> = steps
        .filter(|(_, percentiles)| percentiles.len() > 1)
        .map(|(name, percentiles)| (name.as_str(), percentiles))
        .collect();
    if !steps.is_empty() {
        plots.push(("Setting up by percentile, ms", by_percentile(&steps)?));
    }
    if report.timeline.len() > 1 {
        let line = |name: &'static str, of: fn(&Sample) -> f64| Line {
            name,
            points: report
                .timeline
                .iter()
                .map(|sample| (sample.at_s, of(sample)))
                .collect(),
        };
        let deliveries = line("deliveries", |sample| sample.deliveries_per_s);
        let p99 = line("99th percentile", |sample| sample.latency_p99_ms);
        let cores = [
            line("server", |sample| sample.server_cores),
            line("client", |sample| sample.client_cores),
        ];
        let memory = line("server", |sample| sample.server_rss_mib);
        plots.push(("Deliveries a second", over_time(&[deliveries])?));
        plots.push(("Latency over time, ms", over_time(&[p99])?));
        plots.push(("CPU, in cores", over_time(&cores)?));
        plots.push(("Server memory (RSS), MiB", over_time(&[memory])?));
    }
    Ok(plots)
}

struct Line<'a> {
    name: &'a str,
    points: Vec<(f64, f64)>,
}

const COLOURS: [RGBColor; 3] = [
    RGBColor(9, 105, 218),
    RGBColor(207, 102, 34),
    RGBColor(26, 127, 55),
];

/// Times over the share of what took no longer, both on logarithmic scales: each nine of the share is
/// as wide as the one before.
fn by_percentile(curves: &[(&str, &Percentiles)]) -> Drawn<String> {
    let all = || curves.iter().flat_map(|(_, percentiles)| *percentiles);
    let least = all().fold(f64::INFINITY, |least, point| least.min(point.1));
    let most = all().fold(0.0, |most: f64, point| most.max(point.1));
    let lines: Vec<Line> = curves
        .iter()
        .map(|&(name, percentiles)| Line {
            name,
            points: percentiles
                .iter()
                .filter(|(share, _)| *share < 1.0)
                .map(|&(share, milliseconds)| (1.0 / (1.0 - share), milliseconds))
                .collect(),
        })
        .collect();
    let points = lines.iter().flat_map(|line| &line.points);
    let right = points.fold(10.0, |most: f64, point| most.max(point.0));
    draw(
        (1.0..right).log_scale(),
        (least * 0.8..most * 1.3).log_scale(),
        &|nines| format!("{}%", share(*nines)),
        &lines,
    )
}

/// `1 / (1 - share)` as a percentage with as many nines as it has.
fn share(nines: f64) -> String {
    let percent = 100.0 * (1.0 - 1.0 / nines);
    let digits = (nines.log10().ceil() as usize).saturating_sub(2);
    format!("{percent:.digits$}")
}

fn over_time(lines: &[Line]) -> Drawn<String> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let right = points().fold(0.0, |most: f64, point| most.max(point.0));
    let top = points().fold(0.0, |most: f64, point| most.max(point.1));
    let top = if top > 0.0 { top * 1.1 } else { 1.0 };
    let seconds = |seconds: &f64| format!("{} s", number(*seconds));
    draw(0.0..right, 0.0..top, &seconds, lines)
}

/// Draws `lines` in a chart with these axes, and a legend if there are several.
fn draw<X, Y>(x: X, y: Y, x_label: &dyn Fn(&f64) -> String, lines: &[Line]) -> Drawn<String>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(34)
            .y_label_area_size(64)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .label_style(("sans-serif", 13))
            .x_label_formatter(&x_label)
            .y_label_formatter(&|value| number(*value))
            .draw()?;
        for (line, colour) in lines.iter().zip(COLOURS) {
            let series = LineSeries::new(line.points.iter().copied(), colour.stroke_width(2));
            let series = chart.draw_series(series)?;
            if lines.len() > 1 {
                series.label(line.name).legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2))
                });
            }
        }
        if lines.len() > 1 {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .label_font(("sans-serif", 13))
                .background_style(WHITE.mix(0.8))
                .draw()?;
        }
        area.present()?;
    }
    Ok(svg)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::report::Verdict;
    use crate::report::tests::report;

    #[test]
    fn the_page_needs_nothing_from_elsewhere_and_shows_what_was_said() {
        let sample = |at_s| Sample {
            at_s,
            deliveries_per_s: 1000.0,
            latency_p99_ms: 2.0,
            server_cores: 0.5,
            client_cores: 0.25,
            server_rss_mib: 9.0,
        };
        let report = Report {
            server: "a <server>".into(),
            figures: [("latency-p99-ms".to_string(), 2.5)].into(),
            verdicts: vec![Verdict {
                passed: false,
                text: "1 < 2".into(),
            }],
            warnings: vec!["careful".into()],
            percentiles: vec![(0.0, 0.5), (0.5, 1.0), (0.99, 2.0), (1.0, 3.0)],
            timeline: vec![sample(1.0), sample(2.0)],
            ..report()
        };
        let page = page(&report).unwrap();
        assert_eq!(page.matches("<svg").count(), 5);
        assert!(page.contains("a &lt;server&gt;") && page.contains("1 &lt; 2"));
        assert!(page.contains("latency-p99-ms"));
        for elsewhere in ["src=", "href=", "url(", "@import"] {
            assert!(!page.contains(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn of_a_storm_each_step_is_drawn() {
        let curve = |most: f64| vec![(0.0, 0.5), (0.5, 1.0), (0.99, most), (1.0, most)];
        let steps = [("first", 2.0), ("second", 20.0), ("third", 0.5)];
        let report = Report {
            setup: steps
                .map(|(name, most)| (name.to_string(), curve(most)))
                .to_vec(),
            ..report()
        };
        let page = page(&report).unwrap();
        assert_eq!(page.matches("<svg").count(), 1);
        for (name, _) in steps {
            assert!(page.contains(name), "{name}");
        }
    }

    #[test]
    fn shares_have_as_many_digits_as_nines() {
        assert_eq!(share(10.0), "90");
        assert_eq!(share(100.0), "99");
        assert_eq!(share(1000.0), "99.9");
        assert_eq!(share(10_000.0), "99.99");
    }
}
