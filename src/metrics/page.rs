//! Families of metrics into Prometheus' text format.
//!
//! The crate `prometheus` writes the format. Of its counters and its registry nothing is used: the
//! server's own have one writer each and no locked instruction (`stats`), and are read when somebody
//! asks.

use prometheus::TextEncoder;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

/// What tells the samples of a family apart.
pub type Labels<'a> = &'a [(&'static str, &'a str)];

/// Families, in the order in which they are written.
#[derive(Default)]
pub struct Page {
    families: Vec<MetricFamily>,
}

/// One family that is being filled.
pub struct Family<'p> {
    page: &'p mut Page,
    family: MetricFamily,
}

/// A histogram at a moment.
pub struct Distribution<'a> {
    /// The upper bounds, ascending, without the infinite one.
    pub bounds: &'a [f64],
    /// How many are at most as large as each bound.
    pub up_to: &'a [u64],
    /// How many there are.
    pub count: u64,
    /// What they sum up to.
    pub sum: f64,
}

impl Page {
    /// A number that only grows; its name ends in `_total`.
    pub fn counter(&mut self, name: &str, help: &str) -> Family<'_> {
        debug_assert!(name.ends_with("_total"), "{name}");
        self.family(name, help, MetricType::COUNTER)
    }

    /// A number that goes up and down.
    pub fn gauge(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, help, MetricType::GAUGE)
    }

    /// How often which size occurred.
    pub fn histogram(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name, help, MetricType::HISTOGRAM)
    }

    fn family(&mut self, name: &str, help: &str, kind: MetricType) -> Family<'_> {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(kind);
        Family { page: self, family }
    }

    /// The text.
    pub fn text(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.families)
            .expect("every family has a name and a sample, and a String takes every write")
    }
}

impl Family<'_> {
    /// A sample of a counter or gauge.
    pub fn sample(mut self, labels: Labels<'_>, value: f64) -> Self {
        let mut metric = labelled(labels);
        match self.family.get_field_type() {
            MetricType::COUNTER => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            _ => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        }
        self.family.mut_metric().push(metric);
        self
    }

    /// A sample of a histogram.
    pub fn distribution(mut self, labels: Labels<'_>, of: &Distribution<'_>) -> Self {
        let buckets = of.bounds.iter().zip(of.up_to).map(|(&bound, &count)| {
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(of.count);
        histogram.set_sample_sum(of.sum);
        let mut metric = labelled(labels);
        metric.set_histogram(histogram);
        self.family.mut_metric().push(metric);
        self
    }
}

impl Drop for Family<'_> {
    /// Puts it on its page; one without samples, which the format does not know, is left out.
    fn drop(&mut self) {
        if !self.family.get_metric().is_empty() {
            let family = std::mem::take(&mut self.family);
            self.page.families.push(family);
        }
    }
}

fn labelled(labels: Labels<'_>) -> Metric {
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    Metric::from_label(pairs.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_written_as_prometheus_reads_them() {
        let mut page = Page::default();
        page.counter("x_total", "Counts x.\nTwo lines.")
            .sample(&[("worker", "0"), ("word", "a \"b\"\\")], 3.0)
            .sample(&[("worker", "1")], 4.0);
        page.gauge("nothing", "There is none.");
        page.gauge("y_bytes", "Is y.").sample(&[], 0.5);
        page.histogram("z_seconds", "Takes z.").distribution(
            &[("worker", "0")],
            &Distribution {
                bounds: &[0.001, 1.0],
                up_to: &[1, 2],
                count: 3,
                sum: 7.25,
            },
        );
        let expected = "\
# HELP x_total Counts x.\\nTwo lines.
# TYPE x_total counter
x_total{worker=\"0\",word=\"a \\\"b\\\"\\\\\"} 3
x_total{worker=\"1\"} 4
# HELP y_bytes Is y.
# TYPE y_bytes gauge
y_bytes 0.5
# HELP z_seconds Takes z.
# TYPE z_seconds histogram
z_seconds_bucket{worker=\"0\",le=\"0.001\"} 1
z_seconds_bucket{worker=\"0\",le=\"1\"} 2
z_seconds_bucket{worker=\"0\",le=\"+Inf\"} 3
z_seconds_sum{worker=\"0\"} 7.25
z_seconds_count{worker=\"0\"} 3
";
        assert_eq!(page.text(), expected);
    }
}
