//! Values as Go's `fmt` prints them.

use std::fmt::Write;

use super::quote::{is_shown, letter, quoted, quoted_in_ascii};
use super::value::{Is, Type, Value};

/// A width or precision larger than this is cut: it only pads.
pub(super) const WIDEST: usize = 4096;

/// A value as `%v` prints it.
pub(super) fn shown(value: &Value) -> String {
    let mut out = String::new();
    Verb::default().value(value, 'v', &mut out);
    out
}

/// What stands between the percent sign and the letter of a verb.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Verb {
    pub(super) minus: bool,
    pub(super) plus: bool,
    pub(super) sharp: bool,
    pub(super) space: bool,
    pub(super) zero: bool,
    /// `%+v`: structures with the names of their fields.
    pub(super) named: bool,
    /// `%#v`: values as a program of Go's has them.
    pub(super) source: bool,
    pub(super) width: Option<usize>,
    pub(super) precision: Option<usize>,
}

impl Verb {
    /// A value of which nothing is known is nil.
    pub(super) fn maybe(&self, value: Option<&Value>, kind: char, out: &mut String) {
        match (value, kind) {
            (None, 'T' | 'v') => self.pad("<nil>", out),
            (None, _) => drop(write!(out, "%!{kind}(<nil>)")),
            (Some(value), 'T') => self.text(&value.of.name(), 's', out),
            (Some(value), _) => self.value(value, kind, out),
        }
    }

    fn value(&self, value: &Value, kind: char, out: &mut String) {
        if !self.source
            && matches!(kind, 'v' | 's' | 'x' | 'X' | 'q')
            && let Some(text) = own_text(value)
        {
            return self.text(&text, kind, out);
        }
        match &value.is {
            Is::Bool(on) if matches!(kind, 't' | 'v') => {
                self.pad(if *on { "true" } else { "false" }, out);
            }
            Is::Int(number) if "vdboOxXcqU".contains(kind) => {
                self.whole(number.unsigned_abs(), *number < 0, kind, out);
            }
            Is::Uint(number) if "vdboOxXcqU".contains(kind) => {
                let hex = if kind == 'v' && self.source {
                    'x'
                } else {
                    kind
                };
                let sharp = Verb {
                    sharp: self.sharp || hex != kind,
                    ..*self
                };
                sharp.whole(*number, false, hex, out);
            }
            Is::Float(number) if "veEfFgGxX".contains(kind) => self.float(*number, kind, out),
            Is::Text(text) if "vsxXq".contains(kind) => self.text(text, kind, out),
            Is::List(items) => self.list(value, items, kind, out),
            Is::Map(entries) | Is::Row(entries, _) => self.map(value, entries, kind, out),
            Is::Struct(values) => self.structure(value, values, kind, out),
            Is::Some(held) => {
                // Go tells where a pointer points to; what stands there says more.
                if self.source && matches!(value.of, Type::Pointer(_)) {
                    out.push('&');
                }
                self.value(held, kind, out);
            }
            Is::Nil => self.nil(value.of, kind, out),
            _ => self.misfit(value, kind, out),
        }
    }

    /// A verb that a value has no form for.
    fn misfit(&self, value: &Value, kind: char, out: &mut String) {
        let _ = write!(out, "%!{kind}({}={})", value.of.name(), shown(value));
    }

    fn nil(&self, of: &'static Type, kind: char, out: &mut String) {
        match of {
            Type::List(..) if self.source => drop(write!(out, "{}(nil)", of.name())),
            Type::Map(..) if self.source => drop(write!(out, "{}(nil)", of.name())),
            Type::Any if self.source => out.push_str("interface {}(nil)"),
            Type::Pointer(_) if self.source => drop(write!(out, "({})(nil)", of.name())),
            Type::List(..) => out.push_str("[]"),
            Type::Map(..) => out.push_str("map[]"),
            Type::Any => out.push_str("<nil>"),
            _ if kind == 'v' => self.pad("<nil>", out),
            _ => drop(write!(out, "%!{kind}({}=<nil>)", of.name())),
        }
    }

    fn list(&self, value: &Value, items: &[Value], kind: char, out: &mut String) {
        let (open, gap, close) = if self.source {
            (format!("{}{{", value.of.name()), ", ", '}')
        } else {
            ("[".to_owned(), " ", ']')
        };
        out.push_str(&open);
        for (at, item) in items.iter().enumerate() {
            out.push_str(if at > 0 { gap } else { "" });
            self.value(item, kind, out);
        }
        out.push(close);
    }

    fn map(
        &self,
        value: &Value,
        entries: &[(std::rc::Rc<str>, Value)],
        kind: char,
        out: &mut String,
    ) {
        let (open, gap, close) = if self.source {
            (format!("{}{{", value.of.name()), ", ", '}')
        } else {
            ("map[".to_owned(), " ", ']')
        };
        out.push_str(&open);
        for (at, (key, one)) in entries.iter().enumerate() {
            out.push_str(if at > 0 { gap } else { "" });
            self.value(&Value::text(std::rc::Rc::clone(key)), kind, out);
            out.push(':');
            self.value(one, kind, out);
        }
        out.push(close);
    }

    fn structure(&self, value: &Value, values: &[Value], kind: char, out: &mut String) {
        let Type::Struct(whole) = value.of else {
            return self.misfit(value, kind, out);
        };
        if self.source {
            out.push_str(whole.name);
        }
        out.push('{');
        for (at, (field, one)) in whole.fields.iter().zip(values).enumerate() {
            if at > 0 {
                out.push_str(if self.source { ", " } else { " " });
            }
            if self.named || self.source {
                let _ = write!(out, "{}:", field.name);
            }
            self.value(one, kind, out);
        }
        out.push('}');
    }

    /// A text: `%s`, `%q`, `%x`.
    fn text(&self, text: &str, kind: char, out: &mut String) {
        let most = self.precision.unwrap_or(usize::MAX);
        match kind {
            'q' => {
                let cut: String = text.chars().take(most).collect();
                let plain = !cut.contains(['`', '\u{7f}', '\u{feff}'])
                    && cut
                        .chars()
                        .all(|letter| letter == '\t' || !letter.is_control());
                let shown = match (self.sharp && plain, self.plus) {
                    (true, _) => format!("`{cut}`"),
                    (false, true) => quoted_in_ascii(&cut),
                    (false, false) => quoted(&cut),
                };
                self.pad(&shown, out);
            }
            'v' if self.source => self.pad(&quoted(text), out),
            'x' | 'X' => {
                let bytes = text.bytes().take(most);
                let mut hex: Vec<String> = bytes.map(|byte| format!("{byte:02x}")).collect();
                if self.sharp && !hex.is_empty() {
                    let each = if self.space { hex.len() } else { 1 };
                    hex.iter_mut()
                        .take(each)
                        .for_each(|byte| byte.insert_str(0, "0x"));
                }
                let hex = hex.join(if self.space { " " } else { "" });
                self.pad(&if kind == 'X' { hex.to_uppercase() } else { hex }, out);
            }
            _ => self.pad(&text.chars().take(most).collect::<String>(), out),
        }
    }

    /// A whole number.
    fn whole(&self, number: u64, negative: bool, kind: char, out: &mut String) {
        let code = || {
            u32::try_from(number)
                .ok()
                .and_then(char::from_u32)
                .filter(|_| !negative)
        };
        let replacement = char::REPLACEMENT_CHARACTER;
        let (mut digits, prefix) = match kind {
            'c' => return self.pad(&code().unwrap_or(replacement).to_string(), out),
            'q' => return self.pad(&letter(code().unwrap_or(replacement)), out),
            'U' => {
                let mut text = format!("U+{number:04X}");
                if let Some(shown) = code().filter(|letter| self.sharp && is_shown(*letter)) {
                    let _ = write!(text, " '{shown}'");
                }
                return self.pad(&text, out);
            }
            'b' => (format!("{number:b}"), if self.sharp { "0b" } else { "" }),
            'O' => (format!("{number:o}"), "0o"),
            'o' => {
                let digits = format!("{number:o}");
                (
                    digits.clone(),
                    if self.sharp && !digits.starts_with('0') {
                        "0"
                    } else {
                        ""
                    },
                )
            }
            'x' => (format!("{number:x}"), if self.sharp { "0x" } else { "" }),
            'X' => (format!("{number:X}"), if self.sharp { "0X" } else { "" }),
            _ => (number.to_string(), ""),
        };
        let sign = match (negative, self.plus, self.space) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            _ => "",
        };
        let least = match (self.precision, self.width) {
            (Some(0), _) if number == 0 => return self.pad("", out),
            (Some(precision), _) => precision,
            (None, Some(width)) if self.zero && !self.minus => width.saturating_sub(sign.len()),
            _ => 0,
        };
        if digits.len() < least {
            digits = "0".repeat(least - digits.len()) + &digits;
        }
        Verb {
            zero: false,
            ..*self
        }
        .pad(&format!("{sign}{prefix}{digits}"), out);
    }

    fn float(&self, number: f64, kind: char, out: &mut String) {
        let sign = match (number.is_sign_negative(), self.plus, self.space) {
            (true, ..) => "-",
            (false, true, _) => "+",
            (false, false, true) => " ",
            _ => "",
        };
        let plain = number.abs();
        let digits = match kind {
            'e' | 'E' => exponent(&format!("{plain:.*e}", self.precision.unwrap_or(6))),
            'x' | 'X' => hexadecimal(plain),
            'f' | 'F' => format!("{plain:.*}", self.precision.unwrap_or(6)),
            _ => general(plain, self.precision),
        };
        let digits = if kind.is_ascii_uppercase() {
            digits.to_uppercase()
        } else {
            digits
        };
        match self.width {
            Some(width) if self.zero && !self.minus => {
                let missing = width.saturating_sub(sign.len() + digits.len());
                let _ = write!(out, "{sign}{}{digits}", "0".repeat(missing));
            }
            _ => self.pad(&format!("{sign}{digits}"), out),
        }
    }

    fn pad(&self, text: &str, out: &mut String) {
        let missing = self.width.unwrap_or(0).saturating_sub(text.chars().count());
        match (self.minus, self.zero) {
            (true, _) => {
                out.push_str(text);
                out.extend(std::iter::repeat_n(' ', missing));
            }
            (false, zero) => {
                out.extend(std::iter::repeat_n(if zero { '0' } else { ' ' }, missing));
                out.push_str(text);
            }
        }
    }
}

/// Go's exponents have a sign and two digits at least.
fn exponent(text: &str) -> String {
    let (digits, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

/// `%x` of a float: its bits, with a power of two.
fn hexadecimal(number: f64) -> String {
    let bits = number.to_bits();
    let (exponent, fraction) = ((bits >> 52) & 0x7ff, bits & ((1 << 52) - 1));
    let (power, fraction) = match (exponent, fraction) {
        (0, 0) => return "0x0p+00".to_owned(),
        // Those that are too small for a leading one get it.
        (0, fraction) => {
            let shift = fraction.leading_zeros() - 11;
            (
                -1022 - i64::from(shift),
                (fraction << shift) & ((1 << 52) - 1),
            )
        }
        (exponent, fraction) => (exponent as i64 - 1023, fraction),
    };
    let digits = format!("{fraction:013x}");
    let digits = digits.trim_end_matches('0');
    let dot = if digits.is_empty() { "" } else { "." };
    let sign = if power < 0 { '-' } else { '+' };
    format!("0x1{dot}{digits}p{sign}{:02}", power.abs())
}

/// `%g`: with an exponent when that is shorter.
fn general(number: f64, precision: Option<usize>) -> String {
    let scientific = match precision {
        None => format!("{number:e}"),
        Some(digits) => format!("{number:.*e}", digits.max(1) - 1),
    };
    let Some((digits, power)) = scientific.split_once('e') else {
        return scientific;
    };
    let power: i32 = power.parse().unwrap_or(0);
    let digits = match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => digits,
    };
    let limit = precision.unwrap_or(6).max(1);
    if power < -4 || power >= i32::try_from(limit).unwrap_or(i32::MAX) {
        return exponent(&format!("{digits}e{power}"));
    }
    let decimals = digits.replace('.', "").len() as i32 - 1 - power;
    format!("{number:.*}", usize::try_from(decimals).unwrap_or(0))
}

/// What a value has to say of itself.
fn own_text(value: &Value) -> Option<String> {
    match (value.of, &value.is) {
        (Type::Struct(whole), _) => whole.text.map(|text| text(value)),
        (Type::Time, Is::Time(seconds, nanos, zone)) => {
            Some(crate::time::go_zoned(*seconds, *nanos, *zone))
        }
        (Type::Duration, Is::Int(nanos)) => Some(crate::time::span(*nanos)),
        _ => None,
    }
}

/// Go's `fmt.Sprint`: a blank between two values of which neither is text.
pub(super) fn print(args: &[Option<Value>]) -> String {
    let is_text = |value: &Option<Value>| {
        value
            .as_ref()
            .is_some_and(|value| matches!(value.of, Type::Text(_)))
    };
    let mut out = String::new();
    for (at, value) in args.iter().enumerate() {
        if at > 0 && !is_text(value) && !is_text(&args[at - 1]) {
            out.push(' ');
        }
        Verb::default().maybe(value.as_ref(), 'v', &mut out);
    }
    out
}

/// Go's `fmt.Sprintln`.
pub(super) fn println(args: &[Option<Value>]) -> String {
    let mut out = String::new();
    for (at, value) in args.iter().enumerate() {
        out.push_str(if at > 0 { " " } else { "" });
        Verb::default().maybe(value.as_ref(), 'v', &mut out);
    }
    out.push('\n');
    out
}
