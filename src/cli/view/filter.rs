//! Which of the selected objects are shown: by phase, labels, fields and series. The same for every command that lists.

use clap::Args;

use crate::cli::view::selector;
use crate::model::{LabelSelector, Spec};
use crate::report::object::LiveObject;

/// Narrows a selection.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ObjectFilter {
    /// Only objects in these phases
    #[arg(long, value_name = "PHASE", value_delimiter = ',')]
    phase: Vec<String>,
    // `-s` was the letter of planspec's reference CLI 0.1.0.
    /// Only objects with these labels: `a=b`, `a!=b`, `a`, `!a`, separated by commas
    #[arg(short = 'l', short_alias = 's', long, value_name = "LABELS", value_parser = selector::labels)]
    selector: Option<LabelSelector>,
    /// Only objects with these fields: metadata.name, metadata.namespace, status.phase; `a=b` or `a!=b`, separated by commas
    #[arg(long, value_name = "FIELDS", value_parser = fields)]
    field_selector: Option<FieldSelector>,
    /// Only plans of this series
    #[arg(long, value_name = "SERIES")]
    series: Option<String>,
}

/// Requirements on fields; all must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldSelector(Vec<FieldRequirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldRequirement {
    field: Field,
    equal: bool,
    value: String,
}

/// The fields that can be selected by: those that `kubectl` has for every kind, and the phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Name,
    Namespace,
    Phase,
}

impl ObjectFilter {
    /// Whether an object is shown.
    pub(crate) fn lets_through(&self, object: &LiveObject) -> bool {
        let phase = object.phase();
        // What has no manifest any more has no labels and no series either.
        let resource = object.resource.as_ref();
        (self.phase.is_empty() || self.phase.iter().any(|wanted| wanted.eq_ignore_ascii_case(&phase)))
            && self
                .selector
                .as_ref()
                .is_none_or(|wanted| resource.is_some_and(|found| wanted.matches(&found.metadata.labels)))
            && self.field_selector.as_ref().is_none_or(|wanted| wanted.matches(object))
            && self.series.as_ref().is_none_or(|wanted| match resource.map(|found| &found.spec) {
                Some(Spec::Plan(plan)) => plan.series.as_ref() == Some(wanted),
                _ => false,
            })
    }
}

impl FieldSelector {
    fn matches(&self, object: &LiveObject) -> bool {
        self.0.iter().all(|requirement| {
            let holds = match requirement.field {
                Field::Name => object.key.name.as_str() == requirement.value,
                Field::Namespace => object.key.namespace.as_str() == requirement.value,
                Field::Phase => object.phase().eq_ignore_ascii_case(&requirement.value),
            };
            holds == requirement.equal
        })
    }
}

fn fields(text: &str) -> Result<FieldSelector, String> {
    let mut requirements = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (field, equal, value) = if let Some((field, value)) = part.split_once("!=") {
            (field, false, value)
        } else if let Some((field, value)) = part.split_once('=') {
            (field, true, value.trim_start_matches('='))
        } else {
            return Err(format!("`{part}` compares nothing; write FIELD=VALUE or FIELD!=VALUE"));
        };
        let field = match field.trim() {
            "metadata.name" => Field::Name,
            "metadata.namespace" => Field::Namespace,
            "status.phase" => Field::Phase,
            other => {
                return Err(format!(
                    "no selection by `{other}`; use metadata.name, metadata.namespace or status.phase, \
                     or filter with -o jsonpath"
                ));
            }
        };
        requirements.push(FieldRequirement { field, equal, value: value.trim().to_owned() });
    }
    if requirements.is_empty() {
        return Err("write a field, as in `status.phase=Failed`".to_owned());
    }
    Ok(FieldSelector(requirements))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::object::samples;

    fn selects(text: &str) -> bool {
        let filter = ObjectFilter { field_selector: Some(fields(text).unwrap()), ..ObjectFilter::default() };
        filter.lets_through(&samples::goal())
    }

    #[test]
    fn fields_are_compared_as_with_kubectl() {
        assert!(selects("metadata.name=sso,status.phase==executing"));
        assert!(selects("metadata.namespace!=other"));
        assert!(!selects("status.phase!=Executing"));
        assert!(fields("spec.priority=1").unwrap_err().contains("metadata.name"));
        assert!(fields("status.phase").unwrap_err().contains("FIELD=VALUE"));
    }

    #[test]
    fn a_series_selects_plans_only() {
        let filter = ObjectFilter { series: Some("sso".to_owned()), ..ObjectFilter::default() };
        assert!(!filter.lets_through(&samples::goal()));
    }
}
