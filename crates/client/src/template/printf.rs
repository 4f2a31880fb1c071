//! Go's `fmt.Sprintf`.

use std::fmt::Write;
use std::iter::Peekable;
use std::str::Chars;

use super::print::{Verb, WIDEST};
use super::value::{Is, Value};

/// Prints values as a format says.
pub(super) fn printf(format: &str, args: &[Option<Value>]) -> String {
    let mut printer = Printer {
        letters: format.chars().peekable(),
        args,
        next: 0,
        reordered: false,
        bad_index: false,
        out: String::new(),
    };
    printer.all();
    printer.out
}

struct Printer<'a> {
    letters: Peekable<Chars<'a>>,
    args: &'a [Option<Value>],
    /// Which argument is next.
    next: usize,
    /// Whether `%[n]` named one.
    reordered: bool,
    bad_index: bool,
    out: String,
}

impl Printer<'_> {
    fn all(&mut self) {
        while let Some(letter) = self.letters.next() {
            if letter == '%' {
                self.bad_index = false;
                self.verb();
            } else {
                self.out.push(letter);
            }
        }
        if self.reordered || self.next >= self.args.len() {
            return;
        }
        self.out.push_str("%!(EXTRA ");
        for (at, value) in self.args[self.next..].iter().enumerate() {
            self.out.push_str(if at > 0 { ", " } else { "" });
            match value {
                None => self.out.push_str("<nil>"),
                Some(value) => {
                    let _ = write!(self.out, "{}=", value.of.name());
                    Verb::default().maybe(Some(value), 'v', &mut self.out);
                }
            }
        }
        self.out.push(')');
    }

    fn verb(&mut self) {
        let mut verb = Verb::default();
        while let Some(flag) = self.letters.next_if(|letter| "-+0# ".contains(*letter)) {
            match flag {
                '-' => verb.minus = true,
                '+' => verb.plus = true,
                '#' => verb.sharp = true,
                '0' => verb.zero = true,
                _ => verb.space = true,
            }
        }
        self.index();
        if self.letters.next_if_eq(&'*').is_some() {
            match self.number_from_args() {
                Some(number) => {
                    verb.minus |= number < 0;
                    verb.width = Some(cut(number.unsigned_abs()));
                }
                None => self.out.push_str("%!(BADWIDTH)"),
            }
        } else {
            verb.width = self.digits();
        }
        if self.letters.next_if_eq(&'.').is_some() {
            self.index();
            if self.letters.next_if_eq(&'*').is_some() {
                match self.number_from_args() {
                    Some(number) => {
                        verb.precision = u64::try_from(number).ok().map(cut);
                    }
                    None => self.out.push_str("%!(BADPREC)"),
                }
            } else {
                verb.precision = Some(self.digits().unwrap_or(0));
            }
        }
        self.index();
        let Some(kind) = self.letters.next() else {
            self.out.push_str("%!(NOVERB)");
            return;
        };
        if kind == '%' {
            self.out.push('%');
        } else if self.bad_index {
            let _ = write!(self.out, "%!{kind}(BADINDEX)");
        } else if let Some(value) = self.args.get(self.next) {
            self.next += 1;
            if kind == 'v' {
                verb.source = std::mem::take(&mut verb.sharp);
                verb.named = std::mem::take(&mut verb.plus);
            }
            verb.maybe(value.as_ref(), kind, &mut self.out);
        } else {
            let _ = write!(self.out, "%!{kind}(MISSING)");
        }
    }

    /// `[n]`: which argument is meant.
    fn index(&mut self) {
        if self.letters.next_if_eq(&'[').is_none() {
            return;
        }
        self.reordered = true;
        let number = self.digits();
        let closed = self.letters.next_if_eq(&']').is_some();
        match number.and_then(|number| number.checked_sub(1)) {
            Some(at) if closed && at < self.args.len() => self.next = at,
            _ => {
                // Whatever stands there up to the bracket is no index.
                if !closed && self.letters.clone().any(|letter| letter == ']') {
                    self.letters.by_ref().find(|letter| *letter == ']');
                }
                self.bad_index = true;
            }
        }
    }

    fn digits(&mut self) -> Option<usize> {
        let mut value = None;
        while let Some(digit) = self.letters.peek().and_then(|letter| letter.to_digit(10)) {
            self.letters.next();
            value = Some((value.unwrap_or(0) * 10 + digit as usize).min(WIDEST));
        }
        value
    }

    fn number_from_args(&mut self) -> Option<i64> {
        let value = self.args.get(self.next)?;
        self.next += 1;
        match value.as_ref()?.is {
            Is::Int(number) => Some(number),
            Is::Uint(number) => i64::try_from(number).ok(),
            _ => None,
        }
    }
}

fn cut(number: u64) -> usize {
    usize::try_from(number).unwrap_or(WIDEST).min(WIDEST)
}
