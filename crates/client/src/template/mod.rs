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

pub(crate) use eval::LABELS;

/// Why a template can not be used; the texts follow Go's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    /// The text is no template.
    #[error("template parsing error: template: :1: {0}")]
    Parse(String),
    /// It can not be applied to these data.
    #[error("template: :1: executing \"\" at <{at}>: {why}")]
    Execute {
        /// The part that failed.
        at: String,
        /// Why.
        why: String,
    },
}

/// A template that was parsed.
#[derive(Debug)]
pub(crate) struct Template {
    nodes: Vec<parse::Node>,
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// [`TemplateError::Parse`].
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let tokens = lex::lex(text)?;
        Ok(Template {
            nodes: parse::parse(tokens)?,
        })
    }

    /// Applies it to data.
    ///
    /// # Errors
    /// [`TemplateError::Execute`].
    pub(crate) fn render(&self, data: &Value) -> Result<String, TemplateError> {
        eval::render(&self.nodes, data, false)
    }

    /// Applies it to the names of columns: functions that change a value leave these as they are.
    ///
    /// # Errors
    /// [`TemplateError::Execute`].
    pub(crate) fn render_heading(&self, names: &Value) -> Result<String, TemplateError> {
        eval::render(&self.nodes, names, true)
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
        let rendered = Template::parse(template).and_then(|template| template.render(&data));
        assert_eq!(rendered.as_deref(), Ok(expected), "{template}");
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
                matches!(Template::parse(broken), Err(TemplateError::Parse(_))),
                "{broken}"
            );
        }
        let failed = Template::parse("{{.Missing}}")
            .unwrap()
            .render(&json!({"a": 1}))
            .unwrap_err()
            .to_string();
        assert_eq!(
            failed,
            "template: :1: executing \"\" at <.Missing>: map has no entry for key \"Missing\""
        );
        assert!(
            Template::parse("{{index .a 5}}")
                .unwrap()
                .render(&json!({"a": [1]}))
                .is_err()
        );
    }

    #[test]
    fn a_heading_is_not_changed_by_functions() {
        let template = Template::parse("{{.ID}}\t{{truncate .Image 3}}{{.Label \"x\"}}").unwrap();
        assert_eq!(
            template
                .render_heading(&json!({"ID": "CONTAINER ID", "Image": "IMAGE"}))
                .unwrap(),
            "CONTAINER ID\tIMAGEx"
        );
    }
}
