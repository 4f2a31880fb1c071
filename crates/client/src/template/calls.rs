//! Calls of functions and methods: what they are given fits what they take, or the fault is in Go's words.

use super::builtins::{self, Function, Kind};
use super::exec::{Fault, Maybe, State};
use super::print::shown;
use super::quote::quoted;
use super::tree::{Operand, Term};
use super::value::{ANY, INT, Is, TEXT, TEXTS, Type, Value};

/// What a function or field is given: operands, and the value of the command before.
pub(super) struct Call<'a> {
    pub(super) args: &'a [Operand],
    pub(super) last: Option<Maybe>,
}

impl State<'_> {
    /// Calls the function of that name; `shown` is what messages say that was called.
    pub(super) fn function(
        &mut self,
        name: &str,
        shown: &str,
        operand: &Operand,
        call: Call<'_>,
        dot: &Maybe,
    ) -> Result<Maybe, Fault> {
        let Some(function) = builtins::find(name) else {
            return self.fault(format!("{} is not a defined function", quoted(name)));
        };
        self.call(name, function, None, shown, operand, call, dot)
    }

    /// Calls a function, or the method of a value. `shown` is what messages say that was called.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn call(
        &mut self,
        name: &str,
        function: &Function,
        receiver: Maybe,
        shown: &str,
        operand: &Operand,
        call: Call<'_>,
        dot: &Maybe,
    ) -> Result<Maybe, Fault> {
        let given = call.args.len() + usize::from(call.last.is_some());
        let fixed = function.takes.len();
        let wrong = match function.more {
            Some(_) if given < fixed => Some(format!("at least {fixed} got {}", call.args.len())),
            None if given != fixed => Some(format!("{fixed} got {given}")),
            _ => None,
        };
        if let Some(wrong) = wrong {
            return self.fault(format!("wrong number of args for {name}: want {wrong}"));
        }
        let kind = |at: usize| {
            function
                .takes
                .get(at)
                .copied()
                .or(function.more)
                .unwrap_or(Kind::Value)
        };
        if let (None, "and" | "or") = (&receiver, name) {
            return self.lazy(name == "or", call, dot);
        }
        let mut args = Vec::with_capacity(given);
        for (at, arg) in call.args.iter().enumerate() {
            args.push(self.argument(kind(at), arg, dot)?);
        }
        if let Some(last) = call.last {
            args.push(self.fitting(kind(call.args.len()), last)?);
        }
        if self.mode.heading && receiver.is_none() && builtins::FORMATTING.contains(&name) {
            return Ok(args.into_iter().next().unwrap_or_default());
        }
        let called = match (name, &receiver, args.first()) {
            ("call", None, Some(callee)) => Err(not_callable(call.args.first(), callee)),
            _ => (function.call)(receiver.as_ref(), &args),
        };
        match called {
            Ok(value) => Ok(value),
            Err(why) => {
                self.place = Some((operand.at, shown.to_owned()));
                self.fault(format!("error calling {name}: {why}"))
            }
        }
    }

    /// `and` and `or` stop at the first argument that decides.
    fn lazy(&mut self, wanted: bool, call: Call<'_>, dot: &Maybe) -> Result<Maybe, Fault> {
        let mut value = None;
        for arg in call.args {
            value = self.argument(Kind::Value, arg, dot)?;
            let truth = value
                .clone()
                .and_then(Value::held)
                .is_some_and(|value| value.truth());
            if truth == wanted {
                return Ok(value);
            }
        }
        Ok(call.last.unwrap_or(value))
    }

    /// An argument of the kind that a function takes.
    fn argument(&mut self, kind: Kind, arg: &Operand, dot: &Maybe) -> Result<Maybe, Fault> {
        self.at(arg);
        match (&arg.is, kind) {
            (Term::Nil, Kind::Text | Kind::Int) => {
                self.fault(format!("cannot assign nil to {}", kind.of().name()))
            }
            (Term::Nil, Kind::Texts) => Ok(Some(Value::zero(&TEXTS))),
            (Term::Nil, _) => Ok(None),
            (Term::Bool(_) | Term::Number(_), Kind::Text) => {
                self.fault(format!("expected string; found {arg}"))
            }
            (Term::Number(number), Kind::Int) => match number.int {
                Some(int) => Ok(Some(Value::int(int))),
                None => self.fault(format!("expected integer; found {arg}")),
            },
            (Term::Bool(_) | Term::Text(..), Kind::Int) => {
                self.fault(format!("expected integer; found {arg}"))
            }
            (Term::Bool(_) | Term::Number(_) | Term::Text(..), Kind::Texts) => {
                self.fault(format!("can't handle {arg} for arg of type []string"))
            }
            _ => {
                let value = self.operand(arg, dot)?;
                self.fitting(kind, value)
            }
        }
    }

    /// A value where one of a kind is wanted.
    fn fitting(&self, kind: Kind, value: Maybe) -> Result<Maybe, Fault> {
        let wanted = kind.of();
        match (kind, value) {
            (Kind::Value, value) => Ok(value),
            (Kind::Any, value) => Ok(value.and_then(Value::held)),
            (Kind::Texts, None) => Ok(Some(Value::zero(wanted))),
            (_, None) => self.fault(format!("invalid value; expected {}", wanted.name())),
            (_, Some(value)) if value.of.assignable_to(wanted) => Ok(Some(value)),
            (_, Some(value)) => match (value.of, &value.is) {
                (Type::Any | Type::Pointer(_), Is::Some(held)) if held.of.assignable_to(wanted) => {
                    Ok(Some(Value::clone(held)))
                }
                (Type::Any, Is::Some(held)) => self.fault(format!(
                    "wrong type for value; expected {}; got {}",
                    wanted.name(),
                    held.of.name()
                )),
                (Type::Pointer(to), Is::Nil) if to.assignable_to(wanted) => self.fault(format!(
                    "dereference of nil pointer of type {}",
                    wanted.name()
                )),
                (of, _) => self.fault(format!(
                    "wrong type for value; expected {}; got {}",
                    wanted.name(),
                    of.name()
                )),
            },
        }
    }
}

/// Nothing in these data can be called.
fn not_callable(written: Option<&Operand>, callee: &Maybe) -> String {
    match callee.clone().and_then(Value::held) {
        None => "call of nil".to_owned(),
        Some(callee) => {
            let name = written.map_or_else(|| shown(&callee), Operand::to_string);
            format!("non-function {name} of type {}", callee.of.name())
        }
    }
}

impl Kind {
    fn of(self) -> &'static Type {
        match self {
            Kind::Text => &TEXT,
            Kind::Int => &INT,
            Kind::Texts => &TEXTS,
            Kind::Value | Kind::Any => &ANY,
        }
    }
}
