//! The plan's binary form: values one after another, numbers little-endian, lengths as u32 before what they count.
//!
//! The reader trusts nothing: a count is refused when the bytes that are left cannot hold it, so that a damaged
//! or hostile message costs no more memory than its own size.

use super::PlanError;

/// A value that can be written to and read from the binary form.
pub(super) trait Wire: Sized {
    /// Appends the value.
    fn put(&self, out: &mut Vec<u8>);
    /// Takes the value from the front of the reader.
    fn get(from: &mut Reader<'_>) -> Result<Self, PlanError>;
}

/// What is left of a message.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], PlanError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(PlanError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Fails unless everything was read.
    pub(super) fn finish(self) -> Result<(), PlanError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(PlanError::Trailing {
                bytes: self.0.len(),
            })
        }
    }
}

macro_rules! wire_numbers {
    ($($number:ty),*) => {$(
        impl Wire for $number {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn get(from: &mut Reader<'_>) -> Result<Self, PlanError> {
                let mut bytes = [0; size_of::<$number>()];
                bytes.copy_from_slice(from.take(size_of::<$number>())?);
                Ok(Self::from_le_bytes(bytes))
            }
        }
    )*};
}
wire_numbers!(u8, u16, u32, u64, i32, i64);

impl Wire for bool {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, PlanError> {
        match u8::get(from)? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(PlanError::Value {
                what: "bool",
                value: value.into(),
            }),
        }
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        // A plan with four thousand million entries does not fit the message limit, which `encode` enforces.
        (self.len() as u32).put(out);
        self.iter().for_each(|item| item.put(out));
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, PlanError> {
        let count = u32::get(from)? as usize;
        // Each entry takes at least a byte.
        if count > from.0.len() {
            return Err(PlanError::Truncated);
        }
        let mut items = Self::new();
        for _ in 0..count {
            items.push(T::get(from)?);
        }
        Ok(items)
    }
}

impl Wire for String {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u32).put(out);
        out.extend_from_slice(self.as_bytes());
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, PlanError> {
        let length = u32::get(from)? as usize;
        let bytes = from.take(length)?;
        Self::from_utf8(bytes.to_vec()).map_err(|_| PlanError::Text)
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, PlanError> {
        Ok(if bool::get(from)? {
            Some(T::get(from)?)
        } else {
            None
        })
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    fn get(from: &mut Reader<'_>) -> Result<Self, PlanError> {
        Ok((A::get(from)?, B::get(from)?))
    }
}

/// Gives a struct its form: the named fields, in the order of this list.
macro_rules! wire_struct {
    ($name:ident { $($field:ident),* $(,)? }) => {
        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                let Self { $($field),* } = self;
                $($field.put(out);)*
            }
            fn get(from: &mut Reader<'_>) -> Result<Self, PlanError> {
                Ok(Self { $($field: Wire::get(from)?),* })
            }
        }
    };
}

/// Gives an enum its form: a number for the variant, then the variant's fields.
macro_rules! wire_enum {
    ($name:ident { $($number:literal = $variant:ident $(($inner:ident))? $({ $($field:ident),* })?),* $(,)? }) => {
        impl Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant $(($inner))? $({ $($field),* })? => {
                        out.push($number);
                        $($inner.put(out);)?
                        $($($field.put(out);)*)?
                    })*
                }
            }
            fn get(from: &mut Reader<'_>) -> Result<Self, PlanError> {
                match u8::get(from)? {
                    $($number => {
                        $(let $inner = Wire::get(from)?;)?
                        Ok(Self::$variant $(($inner))? $({ $($field: Wire::get(from)?),* })?)
                    })*
                    value => Err(PlanError::Value { what: stringify!($name), value: value.into() }),
                }
            }
        }
    };
}

pub(super) use {wire_enum, wire_struct};
