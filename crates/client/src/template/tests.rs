use serde_json::{Value as Json, json};

use super::schema;
use super::value::ANY;
use super::*;

/// Every template of `tests.jsonl` prints what Go prints, and fails in Go's words.
#[test]
fn templates_are_go_s() {
    let data: Json = serde_json::from_str(include_str!("tests.json")).unwrap();
    let data = Value::read(&data, &ANY).indirect().0;
    let mut report = String::new();
    let mut number = 0;
    for line in include_str!("tests.jsonl")
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        number += 1;
        let (text, printed, fault, strict): (String, String, String, String) =
            serde_json::from_str(line).unwrap();
        let told = |fault: Fault| fault.to_string();
        let found = match Template::parse(&text) {
            Err(fault) => (String::new(), told(fault), String::new()),
            Ok(template) => {
                let (printed, end) = template.render_partly(&data);
                let strict = template.render(&data, true).err().map(told);
                (
                    printed,
                    end.err().map(told).unwrap_or_default(),
                    strict.unwrap_or_default(),
                )
            }
        };
        if found != (printed.clone(), fault.clone(), strict.clone()) {
            report += &format!("{text}\n  {:?}\n  {found:?}\n", (printed, fault, strict));
        }
    }
    assert!(number > 250);
    assert!(report.is_empty(), "{report}");
}

/// A container of which nothing is told but that it is there.
fn container() -> Value {
    Value::read(
        &json!({
            "Id": "x", "Name": "/web", "State": {"Status": "running"}, "Config": {"Labels": {"a": "b"}},
            "HostConfig": {
                "Ulimits": [{"Name": "nofile", "Hard": 200, "Soft": 100}],
                "NetworkMode": "container:abc",
                "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
            },
            "Mounts": [
                {"Type": "bind", "Source": "/a", "Destination": "/b", "Mode": "", "RW": true, "Propagation": "rprivate"},
                {"Type": "volume", "Name": "v", "Source": "/v", "Destination": "/c", "Driver": "local", "Mode": "z",
                 "RW": false, "Propagation": ""},
            ],
            "NetworkSettings": {"Ports": {"80/tcp": [{"HostIp": "", "HostPort": "1"}], "90/tcp": null}},
        }),
        &schema::container::INSPECT,
    )
}

#[track_caller]
fn check(data: &Value, template: &str, expected: &str) {
    let shown = Template::parse(template).and_then(|template| template.render(data, false));
    let shown = shown.unwrap_or_else(|fault| fault.to_string());
    assert_eq!(shown, expected, "{template}");
}

/// What docker's client 28.2 prints of documents in which much is not told.
#[test]
fn what_is_not_told_has_go_s_zero() {
    let container = container();
    for (template, expected) in [
        (
            "{{.ID}} {{.Name}} {{.State.Status}} {{.RestartCount}}",
            "x /web running 0",
        ),
        (
            "{{.ImageManifestDescriptor}} {{.Config.MacAddress}}|{{.Config.NetworkDisabled}}",
            "<nil> |false",
        ),
        (
            "{{.SizeRw}} {{.State.Health}} {{.HostConfig.Init}} {{.HostConfig.Tmpfs}} {{.HostConfig.CapAdd}}",
            "<nil> <nil> <nil> map[] []",
        ),
        (
            "{{.Config.Env}} {{.Config.Healthcheck}} {{.Config.StopTimeout}} {{.HostConfig.CPUShares}}",
            "[] <nil> <nil> 0",
        ),
        (
            "{{.HostConfig.Ulimits}} {{.HostConfig.RestartPolicy}}",
            "[nofile=100:200] {no 0}",
        ),
        (
            "{{.Mounts}}",
            "[{bind  /a /b   true rprivate} {volume v /v /c local z false }]",
        ),
        ("{{.NetworkSettings.Ports}}", "map[80/tcp:[{ 1}] 90/tcp:[]]"),
        (
            "{{range $p, $b := .NetworkSettings.Ports}}{{$p.Port}}-{{$p.Proto}} {{end}}",
            "80-tcp 90-tcp ",
        ),
        (
            "{{.HostConfig.NetworkMode.IsContainer}} {{.HostConfig.NetworkMode.ConnectedContainer}}",
            "true abc",
        ),
        (
            "{{json .HostConfig.RestartPolicy}} {{json .Config.Labels}} {{json .State.Health}}",
            "{\"Name\":\"no\",\"MaximumRetryCount\":0} {\"a\":\"b\"} null",
        ),
        (
            "{{printf \"%T\" .}} {{printf \"%T\" .HostConfig.NetworkMode}}",
            "container.InspectResponse container.NetworkMode",
        ),
        (
            "{{printf \"%#v\" .HostConfig.RestartPolicy}}",
            "container.RestartPolicy{Name:\"no\", MaximumRetryCount:0}",
        ),
        (
            "{{printf \"%+v\" .HostConfig.RestartPolicy}}",
            "{Name:no MaximumRetryCount:0}",
        ),
        (
            "{{.Id}}",
            "template: :1:2: executing \"\" at <.Id>: can't evaluate field Id in type container.InspectResponse",
        ),
        (
            "{{.State.Foo}}",
            "template: :1:8: executing \"\" at <.State.Foo>: can't evaluate field Foo in type *container.State",
        ),
        (
            "{{.State.Health.Status}}",
            "template: :1:8: executing \"\" at <.State.Health.Status>: nil pointer evaluating *container.Health.Status",
        ),
        (
            "{{upper .HostConfig.NetworkMode}}",
            "template: :1:19: executing \"\" at <.HostConfig.NetworkMode>: wrong type for value; expected string; got container.NetworkMode",
        ),
        (
            "{{index .NetworkSettings.Ports \"80/tcp\"}}",
            "template: :1:2: executing \"\" at <index .NetworkSettings.Ports \"80/tcp\">: error calling index: value has type string; should be nat.Port",
        ),
        (
            "{{.Name.Foo}}",
            "template: :1:7: executing \"\" at <.Name.Foo>: can't evaluate field Foo in type string",
        ),
    ] {
        check(&container, template, expected);
    }
    let image = Value::read(
        &json!({"Id": "x", "Os": "linux", "Metadata": {"LastTagTime": "2026-11-27T06:44:47.36Z"}}),
        &schema::image::INSPECT,
    );
    for (template, expected) in [
        (
            "{{.Os}}/{{.Architecture}}{{.Variant}}{{.OsVersion}}{{.Container}}",
            "linux/",
        ),
        (
            "{{.VirtualSize}} {{.Descriptor}} {{.Manifests}} {{.ContainerConfig}} {{.Config}}",
            "0 <nil> [] <nil> <nil>",
        ),
        (
            "{{.Metadata.LastTagTime}} {{.Metadata}}",
            "2026-11-27 06:44:47.36 +0000 UTC {2026-11-27 06:44:47.36 +0000 UTC}",
        ),
        (
            "{{.Metadata.LastTagTime.Unix}} {{json .Metadata}}",
            "1795761887 {\"LastTagTime\":\"2026-11-27T06:44:47.36Z\"}",
        ),
        (
            "{{json .}}",
            "{\"Id\":\"x\",\"RepoTags\":null,\"RepoDigests\":null,\"Parent\":\"\",\"Comment\":\"\",\"DockerVersion\":\"\",\"Author\":\"\",\"Config\":null,\"Architecture\":\"\",\"Os\":\"linux\",\"Size\":0,\"GraphDriver\":{\"Data\":null,\"Name\":\"\"},\"RootFS\":{},\"Metadata\":{\"LastTagTime\":\"2026-11-27T06:44:47.36Z\"}}",
        ),
    ] {
        check(&image, template, expected);
    }
}

#[test]
fn rows_have_methods() {
    let row = json!({"Names": "web", "Labels": "x=y", "Platform": null, "List": [{"A": "<"}], LABELS: {"x": "y"}});
    let row = Value::row(&row, &Type::Row("*formatter.Row"));
    for (template, expected) in [
        (
            "{{.Names}} {{.Label \"x\"}}|{{.Label \"none\"}}|{{.Labels}}",
            "web y||x=y",
        ),
        (
            "{{\"x\" | .Label}} {{upper .Names}} {{range .List}}{{.A}}{{end}}",
            "y WEB <",
        ),
        (
            "{{json .Names}} {{json .List}}",
            "\"web\" [{\"A\":\"\\u003c\"}]",
        ),
        (
            "{{.Foo}}",
            "template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo in type *formatter.Row",
        ),
        (
            "{{.Names.Foo}}",
            "template: :1:8: executing \"\" at <.Names.Foo>: can't evaluate field Foo in type string",
        ),
        (
            "{{.Label}}",
            "template: :1:2: executing \"\" at <.Label>: wrong number of args for Label: want 1 got 0",
        ),
        (
            "{{.Names 1}}",
            "template: :1:2: executing \"\" at <.Names>: wrong number of args for Names: want 0 got 1",
        ),
    ] {
        check(&row, template, expected);
    }
}

#[test]
fn a_heading_is_not_changed_by_functions() {
    let template =
        Template::parse("{{.ID}}\t{{truncate .Image 3}} {{.Label \"com.docker.a-b\"}} {{.Foo}}")
            .unwrap();
    let names = json!({"ID": "CONTAINER ID", "Image": "IMAGE"});
    assert_eq!(
        template.render_heading(&names).unwrap(),
        "CONTAINER ID\tIMAGE a b <no value>"
    );
}

#[test]
fn templates_are_bounded() {
    let long = format!("{{{{range 1048576}}}}{}{{{{end}}}}", "x".repeat(300));
    let long = Template::parse(&long).unwrap();
    let fault = long.render_raw(&json!({})).unwrap_err().to_string();
    assert!(fault.ends_with("more than 256 MiB are printed"), "{fault}");
    let endless =
        Template::parse("{{define \"T\"}}{{template \"T\"}}{{end}}{{template \"T\"}}").unwrap();
    let fault = endless.render_raw(&json!({})).unwrap_err().to_string();
    assert!(fault.contains("exceeded maximum template depth"), "{fault}");
    assert!(Template::parse(&"{{if 1}}".repeat(100)).is_err());
    assert!(Template::parse(&format!("{{{{{}1}}}}", "(".repeat(100))).is_err());
}
