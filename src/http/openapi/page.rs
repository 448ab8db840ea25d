//! The document as a page: one fold an operation, grouped by tag, with nothing to load and nothing to run.

use std::fmt::Write as _;

use serde_json::Value;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

const HEAD: &str =
    "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">
<style>
:root{color-scheme:light dark;--line:#8884;--soft:#8881}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:2rem 1rem}
h2{margin-top:2.5rem;border-bottom:1px solid var(--line)}
details{border:1px solid var(--line);border-radius:6px;margin:.5rem 0;padding:.4rem .8rem}
summary{cursor:pointer;display:flex;gap:.6rem;align-items:baseline}
summary code{font-weight:600}
@media(max-width:40rem){summary{flex-wrap:wrap}details{overflow-x:auto}code{overflow-wrap:anywhere}}
code,pre{font:14px/1.45 ui-monospace,monospace}
pre{background:var(--soft);padding:.8rem;overflow:auto;border-radius:6px}
.method{min-width:3.6rem;font:600 12px ui-monospace,monospace}
table{border-collapse:collapse;width:100%}
td,th{text-align:left;vertical-align:top;padding:.25rem .8rem .25rem 0;border-bottom:1px solid var(--line)}
.scope{margin-left:auto;white-space:nowrap;font-size:13px;opacity:.75}
</style>";

/// The whole page.
pub(super) fn render(document: &Value) -> String {
    let info = &document["info"];
    let (title, version) = (text(&info["title"]), text(&info["version"]));
    let mut page = format!(
        "{HEAD}<title>{title} API</title><h1>{title} API <small>{version}</small></h1><p>{}</p><p>{}</p>\
         <p>For programs: <a href=\"openapi.json\">openapi.json</a>.</p>",
        text(&info["summary"]),
        text(&info["description"]),
    );
    for tag in tags(document) {
        let _ = write!(page, "<h2>{}</h2>", escape(&tag));
        operations(document).filter(|(_, _, operation)| tag_of(operation) == tag).for_each(
            |(path, method, operation)| {
                page.push_str(&fold(document, path, method, operation));
            },
        );
    }
    page.push_str("<h2>Schemas</h2>");
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        let _ = write!(
            page,
            // A browser unfolds what holds the target of a link, not the target.
            "<details><summary><code>{0}</code></summary><div id=\"{0}\">{1}</div></details>",
            escape(name),
            pretty(schema)
        );
    }
    page
}

fn operations(document: &Value) -> impl Iterator<Item = (&str, &'static str, &Value)> {
    document["paths"].as_object().into_iter().flatten().flat_map(|(path, item)| {
        METHODS.iter().filter_map(move |method| item.get(method).map(|operation| (path.as_str(), *method, operation)))
    })
}

/// In the order in which they come up.
fn tags(document: &Value) -> Vec<String> {
    let mut tags = Vec::new();
    for (_, _, operation) in operations(document) {
        let tag = tag_of(operation).to_owned();
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    tags
}

fn tag_of(operation: &Value) -> &str {
    operation["tags"][0].as_str().unwrap_or("Other")
}

fn fold(document: &Value, path: &str, method: &str, operation: &Value) -> String {
    let mut fold = format!(
        "<details><summary><span class=\"method\">{}</span><code>{}</code><span>{}</span><span class=\"scope\">{}</span></summary>",
        method.to_uppercase(),
        escape(path),
        text(&operation["summary"]),
        escape(&scope(operation)),
    );
    if let description @ Value::String(_) = &operation["description"] {
        let _ = write!(fold, "<p>{}</p>", text(description));
    }
    let shared = &document["paths"][path]["parameters"];
    fold.push_str(&parameters(document, [shared, &operation["parameters"]]));
    if !operation["requestBody"].is_null() {
        fold.push_str(&contents(document, "Body", &operation["requestBody"]));
    }
    for (status, response) in operation["responses"].as_object().into_iter().flatten() {
        fold.push_str(&contents(document, status, response));
    }
    fold + "</details>"
}

fn scope(operation: &Value) -> String {
    match &operation["security"][0] {
        Value::Null => "open".to_owned(),
        kinds => {
            kinds.as_object().into_iter().flatten().map(|(kind, scopes)| scopes[0].as_str().unwrap_or(kind)).collect()
        }
    }
}

fn parameters(document: &Value, lists: [&Value; 2]) -> String {
    let mut rows = String::new();
    for parameter in lists.into_iter().filter_map(Value::as_array).flatten() {
        let parameter = resolve(document, parameter);
        let required = if parameter["required"] == true { ", required" } else { "" };
        let _ = write!(
            rows,
            "<tr><td><code>{}</code><td>{}{required}<td><code>{}</code><td>{}</tr>",
            text(&parameter["name"]),
            text(&parameter["in"]),
            escape(&serde_json::to_string(&parameter["schema"]).unwrap_or_default()),
            text(&parameter["description"]),
        );
    }
    if rows.is_empty() {
        rows
    } else {
        format!("<table><tr><th>Parameter<th>In<th>Schema<th>Meaning</tr>{rows}</table>")
    }
}

/// A body or an answer: what it means, its schema, and an example where there is one.
fn contents(document: &Value, name: &str, found: &Value) -> String {
    let found = resolve(document, found);
    let mut shown = format!("<p><b>{}</b> {}</p>", escape(name), text(&found["description"]));
    for (kind, content) in found["content"].as_object().into_iter().flatten() {
        let schema = match content["schema"]["$ref"].as_str() {
            Some(target) => format!(": {}</p>", linked(&escape(&format!("\"{target}\"")))),
            None => format!("</p>{}", pretty(&content["schema"])),
        };
        let _ = write!(shown, "<p><code>{}</code>{schema}", escape(kind));
        if !content["example"].is_null() {
            let _ = write!(shown, "<p>For example:</p>{}", pretty(&content["example"]));
        }
    }
    shown
}

fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let target = value["$ref"].as_str().and_then(|target| document.pointer(target.trim_start_matches('#')));
    target.unwrap_or(value)
}

fn pretty(value: &Value) -> String {
    format!("<pre>{}</pre>", linked(&escape(&serde_json::to_string_pretty(value).unwrap_or_default())))
}

/// Escaped JSON in which a reference to a schema leads there.
fn linked(escaped: &str) -> String {
    let mut parts = escaped.split("&quot;#/components/schemas/");
    let mut linked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once("&quot;").unwrap_or((part, ""));
        let _ = write!(linked, "<a href=\"#{name}\">{name}</a>{rest}");
    }
    linked
}

/// A description's text; what stands between backticks in it is code, as in CommonMark.
fn text(value: &Value) -> String {
    let escaped = escape(value.as_str().unwrap_or_default());
    let parts: Vec<&str> = escaped.split('`').collect();
    if parts.len().is_multiple_of(2) {
        // One of them stands alone.
        return escaped;
    }
    let code = |(at, part): (usize, &&str)| {
        if at.is_multiple_of(2) { (*part).to_owned() } else { format!("<code>{part}</code>") }
    };
    parts.iter().enumerate().map(code).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn what_stands_between_backticks_is_code() {
        let text = |said: &str| super::text(&json!(said));
        assert_eq!(text("a `<b>` c `d`"), "a <code>&lt;b&gt;</code> c <code>d</code>");
        assert_eq!(text("a ` b"), "a ` b");
    }

    #[test]
    fn a_reference_leads_to_its_schema() {
        let body = |schema| json!({ "description": "", "content": { "application/json": { "schema": schema } } });
        let thing = json!({ "$ref": "#/components/schemas/Thing" });
        let page = super::render(&json!({
            "info": {},
            "paths": { "/": { "get": { "responses": { "200": body(thing.clone()), "201": body(json!({ "items": thing })) } } } },
            "components": { "schemas": { "Thing": { "type": "object" } } },
        }));
        assert_eq!(page.matches("<a href=\"#Thing\">Thing</a>").count(), 2);
        assert!(page.contains("<div id=\"Thing\">"), "{page}");
    }

    #[test]
    fn what_the_document_says_cannot_become_markup() {
        let page = super::render(&json!({
            "info": { "title": "<script>", "version": "\"1\"" },
            "paths": { "/<b>": { "get": { "tags": ["<i>"], "summary": "a & b", "responses": { "200": { "description": "<u>" } } } } },
        }));
        for markup in ["<script>", "<b>GET", "/<b>", "<i>", "<u>"] {
            assert!(!page.contains(markup), "{markup}");
        }
        assert!(page.contains("a &amp; b") && page.contains("/&lt;b&gt;"));
    }
}
