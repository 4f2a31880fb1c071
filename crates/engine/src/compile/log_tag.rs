//! The template of the log option `tag`.
//!
//! Of Go's templates it has what tags are made of: fields and methods of docker's `Info`, `index` on its maps and lists,
//! `join`, `lower`, `upper` and `truncate`, one behind the other with `|`. All else is refused by name.

use std::collections::BTreeMap;

use crate::outcome::{EngineError, Result};

/// What Go calls the template.
const NAME: &str = "log-tag";

/// What a tag may name of a container, by docker's names.
pub(crate) struct Info<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    /// `sha256:…`
    pub(crate) image: &'a str,
    /// As it was asked for.
    pub(crate) image_name: &'a str,
    pub(crate) path: &'a str,
    pub(crate) args: &'a [String],
    pub(crate) env: &'a [String],
    pub(crate) labels: &'a BTreeMap<String, String>,
    pub(crate) options: &'a BTreeMap<String, String>,
}

/// A template that was understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Value(Operand, Vec<Change>),
}

#[derive(Debug, PartialEq, Eq)]
enum Operand {
    Field(Field),
    Literal(String),
    /// The entry of a map by its key.
    Entry(Field, String),
    /// The entry of a list by its number.
    Item(Field, usize),
    /// A list's entries with this between them.
    Joined(Field, String),
}

/// What is done to a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Lower,
    Upper,
    /// To so many characters at most.
    Truncate(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Id,
    FullId,
    Name,
    /// With its slash.
    ContainerName,
    ImageId,
    ImageFullId,
    ImageName,
    Command,
    Entrypoint,
    Args,
    Env,
    Labels,
    Options,
    DaemonName,
    Hostname,
}

/// Docker's names; some have two.
const FIELDS: [(&str, Field); 18] = [
    ("ID", Field::Id),
    ("FullID", Field::FullId),
    ("ContainerID", Field::FullId),
    ("Name", Field::Name),
    ("ContainerName", Field::ContainerName),
    ("ImageID", Field::ImageId),
    ("ImageFullID", Field::ImageFullId),
    ("ContainerImageID", Field::ImageFullId),
    ("ImageName", Field::ImageName),
    ("ContainerImageName", Field::ImageName),
    ("Command", Field::Command),
    ("ContainerEntrypoint", Field::Entrypoint),
    ("ContainerArgs", Field::Args),
    ("ContainerEnv", Field::Env),
    ("ContainerLabels", Field::Labels),
    ("Config", Field::Options),
    ("DaemonName", Field::DaemonName),
    ("Hostname", Field::Hostname),
];

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// Go's sentence for a field that there is not and for braces that are left open; what is not built by name.
    pub(crate) fn parse(text: &str) -> Result<Template> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let at = text.len() - after.len();
            let (inside, behind) = after.split_once("}}").ok_or_else(|| {
                EngineError::invalid(format!("template: {NAME}:1: unclosed action"))
            })?;
            let trims_before = inside.starts_with("- ");
            let trims_behind = inside.ends_with(" -");
            let before = if trims_before {
                before.trim_end()
            } else {
                before
            };
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            let inside = inside.strip_prefix("- ").unwrap_or(inside);
            pieces.push(action(inside.strip_suffix(" -").unwrap_or(inside), at)?);
            rest = if trims_behind {
                behind.trim_start()
            } else {
                behind
            };
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Template(pieces))
    }

    /// The text for a container.
    pub(crate) fn render(&self, info: &Info<'_>) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Value(operand, changes) => {
                    let mut text = operand.text(info);
                    for change in changes {
                        text = change.done_to(text);
                    }
                    out.push_str(&text);
                }
            }
        }
        out
    }
}

fn not_built(what: &str) -> EngineError {
    EngineError::unsupported(format!("{{{{{what}}}}} in the log option \"tag\""))
}

/// What stands between two pairs of braces; `at` is where that begins.
fn action(inside: &str, at: usize) -> Result<Piece> {
    let words = words(inside).ok_or_else(|| not_built(inside))?;
    let mut stages = words.split(|word| matches!(word, Word::Bar));
    let first = stages.next().unwrap_or_default();
    let mut changes = Vec::new();
    let operand = match first {
        [Word::Field(name)] => Operand::Field(field(name, inside, at)?),
        [Word::Text(text)] => Operand::Literal(text.clone()),
        [Word::Name(verb), Word::Field(name), argument] => {
            let field = field(name, inside, at)?;
            match (verb.as_str(), argument) {
                ("index", Word::Text(key)) if field.is_map() => Operand::Entry(field, key.clone()),
                ("index", Word::Number(number)) if field.is_list() => Operand::Item(field, *number),
                ("join", Word::Text(between)) if field.is_list() => {
                    Operand::Joined(field, between.clone())
                }
                ("truncate", Word::Number(length)) if field.is_text() => {
                    changes.push(Change::Truncate(*length));
                    Operand::Field(field)
                }
                _ => return Err(not_built(inside)),
            }
        }
        [Word::Name(verb), Word::Field(name)] => {
            let field = field(name, inside, at)?;
            changes.push(change(verb, inside)?);
            if !field.is_text() {
                return Err(not_built(inside));
            }
            Operand::Field(field)
        }
        _ => return Err(not_built(inside)),
    };
    for stage in stages {
        match stage {
            [Word::Name(verb)] if operand.is_text() => changes.push(change(verb, inside)?),
            _ => return Err(not_built(inside)),
        }
    }
    Ok(Piece::Value(operand, changes))
}

fn change(verb: &str, inside: &str) -> Result<Change> {
    match verb {
        "lower" => Ok(Change::Lower),
        "upper" => Ok(Change::Upper),
        _ => Err(not_built(inside)),
    }
}

/// A field by docker's name, or Go's sentence about one that there is not.
fn field(name: &str, inside: &str, at: usize) -> Result<Field> {
    let known = FIELDS.iter().find(|(known, _)| *known == name);
    match (known, name) {
        (_, "LogPath" | "ContainerCreated") => Err(not_built(inside)),
        (Some((_, field)), _) => Ok(*field),
        (None, _) => {
            let column = at + inside.find(&format!(".{name}")).unwrap_or(0);
            Err(EngineError::invalid(format!(
                "template: {NAME}:1:{column}: executing \"{NAME}\" at <.{name}>: can't evaluate field {name} in type *logger.Info"
            )))
        }
    }
}

/// The words of an action.
#[derive(Debug)]
enum Word {
    /// Without its dot.
    Field(String),
    Text(String),
    Number(usize),
    Name(String),
    Bar,
}

/// `None` for what is no such word.
fn words(inside: &str) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut rest = inside.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, behind) = match first {
            '|' => (Word::Bar, &rest[1..]),
            '"' | '`' => {
                let (text, behind) = rest[1..].split_once(first)?;
                if text.contains('\\') && first == '"' {
                    return None;
                }
                (Word::Text(text.to_owned()), behind)
            }
            _ => {
                let end = rest
                    .find(|sign: char| sign.is_whitespace() || sign == '|')
                    .unwrap_or(rest.len());
                let (text, behind) = rest.split_at(end);
                let plain = |text: &str| {
                    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
                };
                let word = match text.strip_prefix('.') {
                    Some(name) if plain(name) => Word::Field(name.to_owned()),
                    None if first.is_ascii_digit() => Word::Number(text.parse().ok()?),
                    None if plain(text) => Word::Name(text.to_owned()),
                    _ => return None,
                };
                (word, behind)
            }
        };
        words.push(word);
        rest = behind.trim_start();
    }
    Some(words)
}

impl Field {
    fn is_map(self) -> bool {
        matches!(self, Field::Labels | Field::Options)
    }

    fn is_list(self) -> bool {
        matches!(self, Field::Args | Field::Env)
    }

    fn is_text(self) -> bool {
        !self.is_map() && !self.is_list()
    }

    fn list<'a>(self, info: &Info<'a>) -> &'a [String] {
        match self {
            Field::Args => info.args,
            Field::Env => info.env,
            _ => &[],
        }
    }

    fn map<'a>(self, info: &Info<'a>) -> Option<&'a BTreeMap<String, String>> {
        match self {
            Field::Labels => Some(info.labels),
            Field::Options => Some(info.options),
            _ => None,
        }
    }

    /// As Go prints it.
    fn text(self, info: &Info<'_>) -> String {
        let short = |id: &str| id.get(..12).unwrap_or(id).to_owned();
        match self {
            Field::Id => short(info.id),
            Field::FullId => info.id.to_owned(),
            Field::Name => info.name.to_owned(),
            Field::ContainerName => format!("/{}", info.name),
            Field::ImageId => short(info.image),
            Field::ImageFullId => info.image.to_owned(),
            Field::ImageName => info.image_name.to_owned(),
            Field::Command => {
                let mut all = vec![info.path];
                all.extend(info.args.iter().map(String::as_str));
                all.join(" ")
            }
            Field::Entrypoint => info.path.to_owned(),
            Field::Args | Field::Env => format!("[{}]", self.list(info).join(" ")),
            Field::Labels | Field::Options => {
                let all: Vec<String> = self
                    .map(info)
                    .into_iter()
                    .flatten()
                    .map(|(key, value)| format!("{key}:{value}"))
                    .collect();
                format!("map[{}]", all.join(" "))
            }
            Field::DaemonName => "docker".to_owned(),
            Field::Hostname => rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
        }
    }
}

impl Operand {
    fn is_text(&self) -> bool {
        match self {
            Operand::Field(field) => field.is_text(),
            _ => true,
        }
    }

    fn text(&self, info: &Info<'_>) -> String {
        match self {
            Operand::Field(field) => field.text(info),
            Operand::Literal(text) => text.clone(),
            Operand::Entry(field, key) => field
                .map(info)
                .and_then(|map| map.get(key))
                .cloned()
                .unwrap_or_default(),
            Operand::Item(field, number) => {
                field.list(info).get(*number).cloned().unwrap_or_default()
            }
            Operand::Joined(field, between) => field.list(info).join(between),
        }
    }
}

impl Change {
    fn done_to(self, text: String) -> String {
        match self {
            Change::Lower => text.to_lowercase(),
            Change::Upper => text.to_uppercase(),
            Change::Truncate(length) => text.chars().take(length).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(template: &str) -> String {
        let labels = [("app.name".to_owned(), "shop".to_owned())].into();
        let options = [("tag".to_owned(), "x".to_owned())].into();
        let info = Info {
            id: "0123456789abcdef",
            name: "web",
            image: "sha256:fedcba9876543210",
            image_name: "busybox:1",
            path: "sh",
            args: &["-c".to_owned(), "exit".to_owned()],
            env: &["A=1".to_owned()],
            labels: &labels,
            options: &options,
        };
        Template::parse(template)
            .map_or_else(|error| error.to_string(), |parsed| parsed.render(&info))
    }

    #[test]
    fn tags_name_what_docker_s_name() {
        for (template, text) in [
            ("plain", "plain"),
            ("{{.ID}}", "0123456789ab"),
            ("{{.FullID}}", "0123456789abcdef"),
            ("a/{{.Name}}-{{ .ImageName }}/b", "a/web-busybox:1/b"),
            ("{{.ContainerName}} {{.ImageID}}", "/web sha256:fedcb"),
            ("{{.Command}}", "sh -c exit"),
            ("{{.ContainerArgs}}", "[-c exit]"),
            ("{{.ContainerLabels}}", "map[app.name:shop]"),
            ("{{index .ContainerLabels \"app.name\"}}", "shop"),
            ("{{index .ContainerLabels \"no\"}}", ""),
            ("{{index .ContainerArgs 1}}", "exit"),
            ("{{join .ContainerArgs \",\"}}", "-c,exit"),
            ("{{.Name | upper}}", "WEB"),
            ("{{truncate .Name 2|upper}}", "WE"),
            ("{{\"{{\"}}", "{{"),
            ("a {{- .Name -}} b", "awebb"),
        ] {
            assert_eq!(rendered(template), text, "{template}");
        }
    }

    #[test]
    fn what_is_no_field_and_what_is_not_built_is_told() {
        for (template, text) in [
            (
                "{{.Nope}}",
                "template: log-tag:1:2: executing \"log-tag\" at <.Nope>: can't evaluate field Nope in type *logger.Info",
            ),
            (
                "ab{{ .Nope }}",
                "template: log-tag:1:5: executing \"log-tag\" at <.Nope>: can't evaluate field Nope in type *logger.Info",
            ),
            ("{{.ID", "template: log-tag:1: unclosed action"),
            (
                "{{if .ID}}x{{end}}",
                "{{if .ID}} in the log option \"tag\" is not supported by wharf",
            ),
            (
                "{{index .Name \"x\"}}",
                "{{index .Name \"x\"}} in the log option \"tag\" is not supported by wharf",
            ),
            (
                "{{}}",
                "{{}} in the log option \"tag\" is not supported by wharf",
            ),
        ] {
            assert_eq!(rendered(template), text, "{template}");
        }
    }
}
