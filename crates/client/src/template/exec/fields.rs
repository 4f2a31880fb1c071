//! `.Name` of a value: a field, a method, or what a map has under that key.

use super::{Fault, Maybe, State};
use crate::template::calls::Call;
use crate::template::methods;
use crate::template::quote::quoted;
use crate::template::tree::Operand;
use crate::template::value::{Is, TEXT, Type, has_field};

impl State<'_> {
    pub(super) fn fields(
        &mut self,
        receiver: Maybe,
        names: &[String],
        operand: &Operand,
        call: Call<'_>,
        dot: &Maybe,
    ) -> Result<Maybe, Fault> {
        let Some((last, before)) = names.split_last() else {
            return Ok(receiver);
        };
        let mut value = receiver;
        for name in before {
            let alone = Call {
                args: &[],
                last: None,
            };
            value = self.field(value, name, operand, alone, dot)?;
        }
        self.field(value, last, operand, call, dot)
    }

    fn field(
        &mut self,
        receiver: Maybe,
        name: &str,
        operand: &Operand,
        call: Call<'_>,
        dot: &Maybe,
    ) -> Result<Maybe, Fault> {
        let Some(receiver) = receiver else {
            if self.mode.strict {
                return self.fault(format!("nil data; no entry for key {}", quoted(name)));
            }
            return Ok(None);
        };
        let outer = receiver.of;
        let (receiver, is_nil) = receiver.indirect();
        if is_nil && matches!(receiver.of, Type::Any) {
            return self.fault(format!("nil pointer evaluating {}.{name}", outer.name()));
        }
        if let Some(function) = methods::method(&receiver, name) {
            return self.call(
                name,
                &function,
                Some(receiver),
                &operand.to_string(),
                operand,
                call,
                dot,
            );
        }
        let has_args = !call.args.is_empty() || call.last.is_some();
        match (receiver.of, &receiver.is) {
            (Type::Struct(_), _) => match receiver.field(name) {
                Some(Err(why)) => return self.fault(why),
                Some(Ok(_)) if has_args => {
                    return self.fault(format!(
                        "{name} has arguments but cannot be invoked as function"
                    ));
                }
                Some(Ok(value)) => return Ok(Some(value)),
                None => {}
            },
            (Type::Map(_, key, _), is) if TEXT.assignable_to(key) => {
                if has_args {
                    return self.fault(format!("{name} is not a method but has arguments"));
                }
                let found = match is {
                    Is::Map(entries) => entries.iter().find(|(key, _)| &**key == name),
                    _ => None,
                };
                return match found {
                    Some((_, value)) => Ok(Some(value.clone())),
                    None if self.mode.strict => {
                        self.fault(format!("map has no entry for key {}", quoted(name)))
                    }
                    None => Ok(None),
                };
            }
            // They are methods without arguments.
            (Type::Row(_), Is::Row(fields, _)) => {
                if let Some((_, value)) = fields.iter().find(|(field, _)| &**field == name) {
                    let given = call.args.len() + usize::from(call.last.is_some());
                    if given > 0 {
                        return self.fault(format!(
                            "wrong number of args for {name}: want 0 got {given}"
                        ));
                    }
                    return Ok(Some(value.clone()));
                }
            }
            (Type::Pointer(to), _) if !matches!(to, Type::Struct(_)) || has_field(to, name) => {
                return self.fault(format!("nil pointer evaluating {}.{name}", outer.name()));
            }
            _ => {}
        }
        self.fault(format!(
            "can't evaluate field {name} in type {}",
            outer.name()
        ))
    }
}
