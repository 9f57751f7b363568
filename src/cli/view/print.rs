//! Printing objects in the forms of one line each, for every command that lists.

use crate::cli::Context;
use crate::cli::error::CliError;
use crate::cli::output_format::{OutputChoice, OutputFormat};
use crate::report::columns;
use crate::report::object::{LiveObject, kinds_of, short_name};

/// The form that was asked for, of those that show objects.
pub(crate) fn objects_form(context: &Context) -> Result<OutputChoice, CliError> {
    match &context.options.output {
        Some(chosen @ (OutputChoice::Template(_) | OutputChoice::Columns(_))) => Ok(chosen.clone()),
        _ => context.options.format().map(OutputChoice::Plain),
    }
}

/// The forms of one line an object.
pub(crate) fn print_rows(
    objects: &[LiveObject],
    form: &OutputChoice,
    headers: bool,
    context: &mut Context,
) -> Result<(), CliError> {
    match form {
        OutputChoice::Plain(OutputFormat::Name) => {
            for object in objects {
                context.out.line(short_name(&object.key))?;
            }
            Ok(())
        }
        OutputChoice::Columns(columns) => {
            for line in columns.table(objects).lines().into_iter().skip(usize::from(!headers)) {
                context.out.line(line)?;
            }
            Ok(())
        }
        form => print_tables(objects, *form == OutputChoice::Plain(OutputFormat::Wide), headers, context),
    }
}

/// One table per kind, with an empty line between.
fn print_tables(
    objects: &[LiveObject],
    wide: bool,
    headers: bool,
    context: &mut Context,
) -> Result<(), CliError> {
    // With `-n`, the column would say the same in every row.
    let namespaces = context.options.namespace.is_none();
    let now = context.now();
    for (i, kind) in kinds_of(objects).into_iter().enumerate() {
        if i > 0 && headers {
            context.out.line("")?;
        }
        let of_kind: Vec<&LiveObject> = objects.iter().filter(|object| object.key.kind == kind).collect();
        let table = columns::table(kind, &of_kind, namespaces, wide, now);
        // Namespace, name and phase are what a list is for.
        let kept = 2 + usize::from(namespaces);
        let fitting = match context.out.width() {
            Some(width) => table.fitting(width, kept),
            None => table,
        };
        for line in fitting.lines().into_iter().skip(usize::from(!headers)) {
            context.out.line(line)?;
        }
    }
    Ok(())
}
