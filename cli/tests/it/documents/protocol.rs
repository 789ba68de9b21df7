//! `docs/protocol.md` against the wire formats: the module documentation of `protocol/src` is compared with the
//! structs beside it, and the tables of the document are made from it.

use super::super::read;
use super::check_generated;
use duet_protocol::frame::{Envelope, FrameBuilder};
use duet_protocol::ids::Instance;
use duet_protocol::signal::read::Read;
use duet_protocol::signal::{SIGNAL_HEADER_BYTES, Sections, SignalType};
use std::fmt::Write;

/// A line of a layout table.
#[derive(Debug, PartialEq)]
struct Field {
    offset: usize,
    name: String,
    kind: String,
    meaning: String,
}

/// What the module documentation of a signal says.
struct Layout {
    summary: String,
    parties: String,
    fields: Vec<Field>,
    sections: Vec<String>,
    constants: Vec<(String, String, String)>,
}

/// `[`super::read::Read`]` becomes `` `Read` ``.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("[`") {
        let Some(length) = rest[start..].find("`]") else { break };
        let target = &rest[start + 2..start + length];
        plain.push_str(&rest[..start]);
        write!(plain, "`{}`", target.rsplit("::").next().unwrap_or(target)).expect("text");
        rest = &rest[start + length + 2..];
    }
    plain.push_str(rest);
    plain
}

/// Text of the module documentation, without the comment marks.
fn module_documentation(source: &str) -> String {
    let lines = source.lines().take_while(|line| line.starts_with("//!"));
    let text = lines.map(|line| &line[3..]).map(|line| line.strip_prefix(' ').unwrap_or(line));
    text.collect::<Vec<_>>().join("\n")
}

fn bytes_of(kind: &str) -> usize {
    match kind {
        "u8" => 1,
        "u16" => 2,
        "u32" => 4,
        "u64" => 8,
        "[u8;8]" => 8,
        "[u8;16]" => 16,
        other => panic!("unknown field type {other}"),
    }
}

fn layout_of(module: &str) -> Layout {
    let source = read(&format!("protocol/src/signal/{module}.rs"));
    let documentation = module_documentation(&source);
    let (prose, rest) = documentation.split_once("```text\n").expect("a layout");
    let (table, _) = rest.split_once("```").expect("the layout ends");
    let (summary, parties) = prose.split_once("\n\n").expect("a summary and the parties");
    let mut layout = Layout {
        summary: without_links(summary.trim()),
        parties: without_links(&parties.split_whitespace().collect::<Vec<_>>().join(" ")),
        fields: Vec::new(),
        sections: Vec::new(),
        constants: Vec::new(),
    };
    for line in table.lines() {
        if let Some(field) = line.trim_start().strip_prefix("byte ") {
            let words: Vec<&str> = field.split_whitespace().collect();
            layout.fields.push(Field {
                offset: words[0].parse().expect("an offset"),
                name: words[1].to_owned(),
                kind: words[2].to_owned(),
                meaning: words[3..].join(" "),
            });
        } else {
            assert!(line.trim_start().starts_with("section "), "{module}: cannot read `{line}`");
            layout.sections.push(without_links(line.trim()));
        }
    }
    let lines: Vec<&str> = source.lines().collect();
    for pair in lines.windows(2) {
        if let Some(constant) = pair[1].strip_prefix("pub const ") {
            let (name, rest) = constant.split_once(": ").expect("a type");
            let value = rest.split_once("= ").expect("a value").1.trim_end_matches(';');
            let meaning = pair[0].trim_start_matches("///").trim();
            layout.constants.push((name.to_owned(), value.to_owned(), meaning.to_owned()));
        }
    }
    layout
}

/// Fields of the struct `name` in `source`, with offsets behind the signal header.
fn fields_of_struct(source: &str, name: &str) -> Vec<(usize, String, String)> {
    let body = source.split_once(&format!("pub struct {name} {{\n")).expect("the struct").1;
    let body = body.split_once("\n}").expect("its end").0;
    let mut offset = SIGNAL_HEADER_BYTES;
    let mut fields = Vec::new();
    for line in body.lines() {
        let Some(field) = line.trim().strip_prefix("pub ") else { continue };
        let (field, kind) = field.trim_end_matches(',').split_once(": ").expect("a type");
        let kind = kind.rsplit("::").next().expect("a type").to_lowercase().replace(' ', "");
        fields.push((offset, field.to_owned(), kind.clone()));
        offset += bytes_of(&kind);
    }
    fields
}

/// `(module, type, number)` of every signal, from the macro call that defines them.
fn signals() -> Vec<(String, String, u16)> {
    let source = read("protocol/src/signal/mod.rs");
    let list =
        source.split_once("\nsignal_types! {").expect("the list").1.split_once('}').expect("its end").0;
    let mut signals = Vec::new();
    for line in list.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (path, number) = line.trim_end_matches(',').split_once(" = ").expect("a number");
        let (module, name) = path.split_once("::").expect("a module");
        signals.push((module.to_owned(), name.to_owned(), number.parse().expect("a number")));
    }
    signals
}

#[test]
fn module_documentation_of_signals_matches_their_structs() {
    let signals = signals();
    assert_eq!(signals.len(), SignalType::ALL.len());
    for ((module, name, number), (signal_type, body_bytes)) in signals.iter().zip(SignalType::ALL) {
        assert_eq!(SignalType::from_number(*number), Some(*signal_type));
        let layout = layout_of(module);
        let source = read(&format!("protocol/src/signal/{module}.rs"));
        let documented: Vec<_> = layout
            .fields
            .iter()
            .map(|field| (field.offset, field.name.clone(), field.kind.clone()))
            .collect();
        assert_eq!(documented, fields_of_struct(&source, name), "{module}");
        let last = layout.fields.last().expect("at least one field");
        assert_eq!(last.offset + bytes_of(&last.kind), SIGNAL_HEADER_BYTES + body_bytes, "{module}");
        assert!(layout.parties.contains("Sender"), "{module} does not name its sender");
    }
}

#[test]
fn the_tables_of_signals_follow_the_code() {
    let mut text = String::from("\n");
    for (module, name, number) in signals() {
        let layout = layout_of(&module);
        write!(text, "### {number} `{name}`\n\n{}\n\n{}\n\n", layout.summary, layout.parties).expect("text");
        text.push_str("| byte | field | type | meaning |\n|---|---|---|---|\n");
        for field in &layout.fields {
            let Field { offset, name, kind, meaning } = field;
            writeln!(text, "| {offset} | `{name}` | {kind} | {meaning} |").expect("text");
        }
        for section in &layout.sections {
            let (name, meaning) = section.split_once(": ").expect("a meaning");
            writeln!(text, "| | {name} | bytes | {meaning} |").expect("text");
        }
        text.push('\n');
        for (constant, value, meaning) in &layout.constants {
            writeln!(text, "- `{constant}` = {value}: {meaning}").expect("text");
        }
        if !layout.constants.is_empty() {
            text.push('\n');
        }
    }
    check_generated("docs/protocol.md", "signals", &text);
}

#[test]
fn the_envelopes_follow_the_code() {
    for (name, path) in [
        ("frame", "protocol/src/frame.rs"),
        ("signal", "protocol/src/signal/mod.rs"),
        ("record", "protocol/src/record/mod.rs"),
    ] {
        let documentation = module_documentation(&read(path));
        let (_, rest) = documentation.split_once("```text\n").expect("a layout");
        let (table, _) = rest.split_once("```").expect("the layout ends");
        check_generated("docs/protocol.md", name, &format!("\n```text\n{table}```\n\n"));
    }
}

#[test]
fn the_example_frame_follows_the_code() {
    let mut builder = FrameBuilder::new();
    let body = Read { table: 5.into(), table_version: 1.into(), flags: 0.into() };
    builder.push(0, 77, &body, Sections::one(b"\x80\x00\x00\x00\x00\x00\x00\x2a"));
    let envelope = Envelope {
        cluster_id: 0x0123_4567_89ab_cdef,
        sender: Instance::NONE,
        receiver: Instance { node: 1, incarnation: 3 },
        view: 1,
        epoch: 1000,
        lane: None,
    };
    let bytes = builder.seal(&envelope).expect("an open frame");
    let mut text = String::from("\n```text\n");
    for (row, chunk) in bytes.chunks(16).enumerate() {
        let hex: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "{:3}  {}", row * 16, hex.join(" ")).expect("text");
    }
    text.push_str("```\n\n");
    check_generated("docs/protocol.md", "example", &text);
}
