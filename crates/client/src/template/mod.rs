//! Go's text templates, as people use them with `--format`.
//!
//! Fields, chains, variables, pipelines, brackets, `if`, `range`, `with`, the built-in functions,
//! and docker's own (`json`, `join`, `split`, `title`, `lower`, `upper`, `pad`, `truncate`). Named
//! templates (`define`, `template`, `block`) are refused. Data are JSON values; what docker's rows
//! offer as methods (`.Label "x"`) is found in a hidden field, see [`eval::LABELS`].

mod eval;
mod functions;
mod lex;
mod parse;
mod show;

use serde_json::Value;

pub(crate) use eval::{LABELS, ORIGINAL, Shape};
pub(crate) use parse::Place;

/// Why a template can not be used; the texts follow Go's. What is in front of them is for who shows it: see [`Fault`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TemplateError {
    /// The text is no template.
    Parse(String),
    /// It can not be applied to these data.
    Execute {
        /// The part that failed.
        place: Place,
        /// Why.
        why: String,
    },
}

/// A fault in a template of that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("template: {name}:1: {why}")]
    Parse { name: &'static str, why: String },
    #[error("template: {name}:{}: executing {name:?} at <{}>: {why}", place.at, place.text)]
    Execute {
        name: &'static str,
        place: Place,
        why: String,
    },
}

/// A template that was parsed.
#[derive(Debug)]
pub(crate) struct Template {
    name: &'static str,
    nodes: Vec<parse::Node>,
}

impl Template {
    /// Parses a template without a name.
    ///
    /// # Errors
    /// [`Fault::Parse`].
    pub(crate) fn parse(text: &str) -> Result<Self, Fault> {
        Self::parse_as("", text)
    }

    /// Parses a template; messages tell its name.
    ///
    /// # Errors
    /// [`Fault::Parse`].
    pub(crate) fn parse_as(name: &'static str, text: &str) -> Result<Self, Fault> {
        let nodes = lex::lex(text).and_then(|tokens| parse::parse(text, tokens));
        match nodes {
            Ok(nodes) => Ok(Template { name, nodes }),
            Err(error) => Err(fault(name, error)),
        }
    }

    /// Applies it to data.
    ///
    /// # Errors
    /// [`Fault::Execute`].
    pub(crate) fn render(&self, data: &Value, shape: Shape) -> Result<String, Fault> {
        eval::render(&self.nodes, data, shape, false).map_err(|error| fault(self.name, error))
    }

    /// Applies it to the names of columns: functions that change a value leave these as they are.
    ///
    /// # Errors
    /// [`Fault::Execute`].
    pub(crate) fn render_heading(&self, names: &Value, shape: Shape) -> Result<String, Fault> {
        eval::render(&self.nodes, names, shape, true).map_err(|error| fault(self.name, error))
    }
}

fn fault(name: &'static str, error: TemplateError) -> Fault {
    match error {
        TemplateError::Parse(why) => Fault::Parse { name, why },
        TemplateError::Execute { place, why } => Fault::Execute { name, place, why },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(template: &str, expected: &str) {
        let data = json!({
            "Name": "web", "Id": "abcdef", "Size": 1234, "Ratio": 0.5, "On": true, "Nothing": null, "Empty": "",
            "List": ["a", "b", "c"], "Numbers": [1, 2], "Map": {"k": "v", "a b": "c"},
            "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "90/tcp": null},
            LABELS: {"x": "y"},
        });
        let rendered = Template::parse(template)
            .and_then(|template| template.render(&data, Shape::Row("row")));
        assert_eq!(rendered, Ok(expected.to_owned()), "{template}");
    }

    #[test]
    fn fields_and_text() {
        check(
            "{{.Name}}: {{ .Size }} {{.On}} {{.Ratio}}!",
            "web: 1234 true 0.5!",
        );
        check(
            "{{.Map.k}} {{$.Name}} {{.Label \"x\"}} {{.Label \"none\"}}",
            "v web y ",
        );
        check("a {{- /* nothing */ -}} b", "ab");
        check("{{.Nothing}}", "<nil>");
        check("{{.List}} {{.Map}}", "[a b c] map[a b:c k:v]");
    }

    #[test]
    fn functions() {
        check(
            "{{json .List}} {{json .Name}} {{.Map | json}}",
            r#"["a","b","c"] "web" {"k":"v","a b":"c"}"#,
        );
        check(
            "{{join .List \", \"}} {{index .List 1}} {{index .Map \"a b\"}} {{len .List}}",
            "a, b, c b c 3",
        );
        check("{{(index (index .Ports \"80/tcp\") 0).HostPort}}", "8080");
        check(
            "{{printf \"%s-%d-%q-%v\" .Name .Size .Id .On}}",
            "web-1234-\"abcdef\"-true",
        );
        check(
            "{{printf \"%5s|%-5s|%05d|%.1f|%x\" .Name .Name .Size .Ratio .Size}}",
            "  web|web  |01234|0.5|4d2",
        );
        check(
            "{{upper .Name}} {{title .Name}} {{lower \"ABC\"}} {{truncate .Id 3}} {{pad .Name 1 2}}|",
            "WEB Web abc abc  web  |",
        );
        check("{{println .Name}}{{print .Name 1}}", "web\nweb1");
        check("{{split \"a,b\" \",\"}} {{slice .Id 1 3}}", "[a b] bc");
    }

    #[test]
    fn conditions_and_loops() {
        check(
            "{{if .On}}yes{{else}}no{{end}} {{if .Empty}}yes{{else if .Size}}size{{end}}",
            "yes size",
        );
        check(
            "{{range .List}}<{{.}}>{{end}} {{range $i, $e := .List}}{{$i}}{{$e}}{{end}}",
            "<a><b><c> 0a1b2c",
        );
        check(
            "{{range $k, $v := .Map}}{{$k}}={{$v}};{{end}}",
            "a b=c;k=v;",
        );
        check("{{range .Nothing}}x{{else}}none{{end}}", "none");
        check("{{with .Map}}{{.k}}{{end}}{{with .Empty}}x{{end}}", "v");
        check("{{$x := .Name}}{{$x}}{{$x = .Id}}{{$x}}", "webabcdef");
        check(
            "{{range .List}}{{if eq . \"b\"}}{{continue}}{{end}}{{.}}{{end}}{{range .List}}{{break}}{{end}}",
            "ac",
        );
        check(
            "{{range $p, $conf := .Ports}}{{$p}} -> {{(index $conf 0).HostPort}}{{break}}{{end}}",
            "80/tcp -> 8080",
        );
    }

    #[test]
    fn comparisons() {
        check(
            "{{eq .Size 1234}} {{ne .Name \"web\"}} {{lt .Size 2000}} {{ge .Size 1234}}",
            "true false true true",
        );
        check(
            "{{and .On .Name}} {{or .Empty \"else\"}} {{not .On}} {{eq .Name \"x\" \"web\"}}",
            "web else false true",
        );
    }

    #[test]
    fn faults_are_told() {
        for broken in [
            "{{.Name",
            "{{if}}x{{end}}",
            "{{end}}",
            "{{range .List}}",
            "{{what .Name}}",
            "{{template \"x\"}}",
            "{{\"open}}",
            "{{)}}",
        ] {
            assert!(
                matches!(Template::parse(broken), Err(Fault::Parse { .. })),
                "{broken}"
            );
        }
    }

    #[test]
    fn faults_tell_where_they_are() {
        let data = json!({"Name": "web", "List": [1], "State": {"On": true}, "Map": {"k": "v"}});
        let failed = |template: &str, shape: Shape| {
            let template = Template::parse(template).unwrap();
            template.render(&data, shape).unwrap_err().to_string()
        };
        let row = |template: &str| failed(template, Shape::Row("*formatter.Row"));
        let raw = |template: &str| failed(template, Shape::Document(&[]));
        assert_eq!(
            row("{{.Foo}}"),
            "template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo in type *formatter.Row"
        );
        assert_eq!(
            raw("x\n {{.State.Foo}}"),
            "template: :2:9: executing \"\" at <.State.Foo>: map has no entry for key \"Foo\""
        );
        assert_eq!(
            raw("{{.Name.Foo}}"),
            "template: :1:7: executing \"\" at <.Name.Foo>: can't evaluate field Foo in type interface {}"
        );
        assert_eq!(
            raw("{{range $i, $c := .List}}{{(index $c 0).X}}{{end}}"),
            "template: :1:28: executing \"\" at <index $c 0>: error calling index: can't index item of type int"
        );
        assert_eq!(
            row("{{join .Name \",\"}}"),
            "template: :1:7: executing \"\" at <.Name>: wrong type for value; expected []string; got string"
        );
        assert_eq!(
            row("{{range .Name}}{{end}}"),
            "template: :1:8: executing \"\" at <.Name>: range can't iterate over web"
        );
    }

    #[test]
    fn documents_are_printed_as_gos_structures() {
        let data = json!({
            "Policy": {"Name": "no", "Count": 0}, "Binds": null, "Labels": null, "Health": null,
            "Ports": {"80/tcp": [{"Ip": "", "Port": "1"}], "90/tcp": null}, "ExposedPorts": {"80/tcp": {}},
        });
        let shown = |template: &str| {
            let template = Template::parse(template).unwrap();
            template.render(&data, Shape::Document(&[])).unwrap()
        };
        assert_eq!(
            shown("{{.Policy}} {{.Binds}} {{.Labels}} {{.Health}}"),
            "{no 0} [] map[] <nil>"
        );
        assert_eq!(
            shown("{{.Ports}} {{.ExposedPorts}}"),
            "map[80/tcp:[{ 1}] 90/tcp:[]] map[80/tcp:{}]"
        );
        assert_eq!(shown("{{json .Binds}}"), "null");
    }

    #[test]
    fn a_heading_is_not_changed_by_functions() {
        let template = Template::parse("{{.ID}}\t{{truncate .Image 3}}{{.Label \"x\"}}").unwrap();
        assert_eq!(
            template
                .render_heading(
                    &json!({"ID": "CONTAINER ID", "Image": "IMAGE"}),
                    Shape::Row("row")
                )
                .unwrap(),
            "CONTAINER ID\tIMAGEx"
        );
    }
}
