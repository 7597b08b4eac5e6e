//! HTML and Confluence's storage format, by templates. Both are escaped as HTML by the template
//! engine, which nothing here switches off.
use crate::report::document::Document;
use minijinja::{
    AutoEscape, Environment, Error, UndefinedBehavior, context, syntax::SyntaxConfig, value::Serde,
};

const HTML: &str = "report.html";
const CONFLUENCE: &str = "confluence.xml";

fn environment() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    // A name that the document does not have is a mistake, not an empty text.
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    environment.set_syntax(syntax.build()?);
    environment.add_template(HTML, include_str!("templates/report.html"))?;
    environment.add_template("picture.html", include_str!("templates/picture.html"))?;
    environment.add_template("style.css", include_str!("templates/style.css"))?;
    environment.add_template(CONFLUENCE, include_str!("templates/confluence.xml"))?;
    // Code in Confluence stands in CDATA, which ends at its first `]]>`.
    environment.add_filter("cdata", |text: String| {
        text.replace("]]>", "]]]]><![CDATA[>")
    });
    // XML knows fewer characters than Rust.
    environment.add_filter("xml", |text: String| {
        text.replace(|c: char| c < ' ' && !matches!(c, '\n' | '\t'), "\u{fffd}")
    });
    Ok(environment)
}

pub(super) fn html(document: &Document) -> Result<String, Error> {
    environment()?
        .get_template(HTML)?
        .render(context! { document => Serde(document) })
}

pub(super) fn confluence(document: &Document) -> Result<String, Error> {
    environment()?
        .get_template(CONFLUENCE)?
        .render(context! { document => Serde(document) })
}
