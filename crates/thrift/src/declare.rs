//! The four declarations the schema is written in: structs, unions, enums and the service. Each yields the Rust type and its reading and
//! writing for every protocol; a name in the interface is derived from the Rust name (`task_id` is `taskId`, `RollingBack` is
//! `ROLLING_BACK`).

/// The length of `name` in camel case.
pub(crate) const fn camel_length(name: &str) -> usize {
    let bytes = name.as_bytes();
    let mut length = 0;
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'_' {
            length += 1;
        }
        at += 1;
    }
    length
}

/// `task_id` as `taskId`.
pub(crate) const fn camel<const N: usize>(name: &str) -> [u8; N] {
    let bytes = name.as_bytes();
    let mut camel = [0; N];
    let mut length = 0;
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'_' {
            let first = at > 0 && bytes[at - 1] == b'_';
            camel[length] = if first { bytes[at].to_ascii_uppercase() } else { bytes[at] };
            length += 1;
        }
        at += 1;
    }
    camel
}

/// The length of `name` in upper snake case.
pub(crate) const fn upper_snake_length(name: &str) -> usize {
    let bytes = name.as_bytes();
    let mut length = bytes.len();
    let mut at = 1;
    while at < bytes.len() {
        if bytes[at].is_ascii_uppercase() {
            length += 1;
        }
        at += 1;
    }
    length
}

/// `RollingBack` as `ROLLING_BACK`.
pub(crate) const fn upper_snake<const N: usize>(name: &str) -> [u8; N] {
    let bytes = name.as_bytes();
    let mut upper = [0; N];
    let mut length = 0;
    let mut at = 0;
    while at < bytes.len() {
        if at > 0 && bytes[at].is_ascii_uppercase() {
            upper[length] = b'_';
            length += 1;
        }
        upper[length] = bytes[at].to_ascii_uppercase();
        length += 1;
        at += 1;
    }
    upper
}

/// Bytes that are known to be ASCII as text.
pub(crate) const fn ascii(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => panic!("names are ASCII"),
    }
}

macro_rules! camel_name {
    ($name:ident) => {{
        const BYTES: [u8; $crate::declare::camel_length(stringify!($name))] = $crate::declare::camel(stringify!($name));
        $crate::declare::ascii(&BYTES)
    }};
}

macro_rules! upper_name {
    ($name:ident) => {{
        const BYTES: [u8; $crate::declare::upper_snake_length(stringify!($name))] =
            $crate::declare::upper_snake(stringify!($name));
        $crate::declare::ascii(&BYTES)
    }};
}

/// `pub struct Name { 1 field: Type, … }`: `Option` fields are left out when `None`; all others are always written, and keep their default
/// when absent.
macro_rules! thrift_struct {
    ($(
        $(#[$meta:meta])*
        pub struct $Name:ident { $($(#[$field_meta:meta])* $id:literal $field:ident: $Type:ty),* $(,)? }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        #[allow(missing_docs)]
        pub struct $Name { $($(#[$field_meta])* pub $field: $Type),* }

        impl $Name {
            /// The fields in the order of declaration.
            pub const FIELDS: &'static [$crate::FieldSpec] = &[$($crate::FieldSpec {
                id: $id,
                name: camel_name!($field),
                kind: <$Type as $crate::wire::Field>::KIND,
            }),*];
        }

        impl $crate::wire::Write for $Name {
            const KIND: $crate::Kind = $crate::Kind::Struct;

            fn write<W: $crate::wire::Writer>(&self, writer: &mut W) {
                writer.struct_begin();
                $({
                    const SPEC: $crate::FieldSpec = $crate::FieldSpec {
                        id: $id,
                        name: camel_name!($field),
                        kind: <$Type as $crate::wire::Field>::KIND,
                    };
                    $crate::wire::Field::write_field(&self.$field, writer, &SPEC);
                })*
                writer.struct_end();
            }
        }

        impl $crate::wire::Read for $Name {
            #[allow(unused_mut, unreachable_code)]
            fn read<R: $crate::wire::Reader>(reader: &mut R) -> $crate::error::Result<Self> {
                let mut value = $Name::default();
                reader.struct_begin()?;
                while let Some(id) = reader.field_begin(Self::FIELDS)? {
                    match id {
                        $($id => $crate::wire::Field::read_field(&mut value.$field, reader)?,)*
                        _ => unreachable!("the reader returns known fields only"),
                    }
                    reader.field_end()?;
                }
                Ok(value)
            }
        }
    )*};
}

/// `pub enum Name { 1 member Variant(Type), … }`: exactly one member is set.
macro_rules! thrift_union {
    ($(
        $(#[$meta:meta])*
        pub enum $Name:ident { $($id:literal $member:ident $Variant:ident($Type:ty)),* $(,)? }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub enum $Name { $($Variant($Type)),* }

        impl $Name {
            /// The members in the order of declaration.
            pub const FIELDS: &'static [$crate::FieldSpec] = &[$($crate::FieldSpec {
                id: $id,
                name: camel_name!($member),
                kind: <$Type as $crate::wire::Write>::KIND,
            }),*];
        }

        impl $crate::wire::Write for $Name {
            const KIND: $crate::Kind = $crate::Kind::Struct;

            fn write<W: $crate::wire::Writer>(&self, writer: &mut W) {
                writer.struct_begin();
                match self {
                    $($Name::$Variant(value) => {
                        const SPEC: $crate::FieldSpec = $crate::FieldSpec {
                            id: $id,
                            name: camel_name!($member),
                            kind: <$Type as $crate::wire::Write>::KIND,
                        };
                        $crate::wire::Field::write_field(value, writer, &SPEC);
                    })*
                }
                writer.struct_end();
            }
        }

        impl $crate::wire::Read for $Name {
            fn read<R: $crate::wire::Reader>(reader: &mut R) -> $crate::error::Result<Self> {
                let mut value = None;
                reader.struct_begin()?;
                while let Some(id) = reader.field_begin(Self::FIELDS)? {
                    let member = match id {
                        $($id => $Name::$Variant(<$Type as $crate::wire::Read>::read(reader)?),)*
                        _ => unreachable!("the reader returns known fields only"),
                    };
                    reader.field_end()?;
                    if value.replace(member).is_some() {
                        return Err($crate::ProtocolError::Value(
                            concat!("more than one member of ", stringify!($Name), " is set").to_owned(),
                        ));
                    }
                }
                value.ok_or_else(|| {
                    $crate::ProtocolError::Value(concat!("no known member of ", stringify!($Name), " is set").to_owned())
                })
            }
        }
    )*};
}

/// `pub enum Name { Variant = 1, … }`.
macro_rules! thrift_enum {
    ($(
        $(#[$meta:meta])*
        pub enum $Name:ident { $($Variant:ident = $value:literal),* $(,)? }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs)]
        pub enum $Name { $($Variant = $value),* }

        impl $Name {
            /// Every constant, in the order of declaration.
            pub const ALL: &'static [$Name] = &[$($Name::$Variant),*];

            /// The name in the interface.
            pub const fn name(self) -> &'static str {
                match self { $($Name::$Variant => upper_name!($Variant)),* }
            }

            /// The constant of that number.
            pub const fn from_number(number: i32) -> Option<$Name> {
                Some(match number {
                    $($value => $Name::$Variant,)*
                    _ => return None,
                })
            }

            /// The constant of that name.
            pub fn from_name(name: &str) -> Option<$Name> {
                Self::ALL.iter().copied().find(|constant| constant.name() == name)
            }
        }

        impl std::fmt::Display for $Name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.name())
            }
        }

        impl $crate::wire::Write for $Name {
            const KIND: $crate::Kind = $crate::Kind::Enum;

            fn write<W: $crate::wire::Writer>(&self, writer: &mut W) {
                writer.enumeration(*self as i32, self.name());
            }
        }

        impl $crate::wire::Read for $Name {
            fn read<R: $crate::wire::Reader>(reader: &mut R) -> $crate::error::Result<Self> {
                let value = reader.enumeration()?;
                let found = match &value {
                    $crate::wire::EnumValue::Number(number) => $Name::from_number(*number),
                    $crate::wire::EnumValue::Name(name) => $Name::from_name(name),
                };
                found.ok_or_else(|| {
                    $crate::ProtocolError::Value(match value {
                        $crate::wire::EnumValue::Number(number) => {
                            format!(concat!("{} is no ", stringify!($Name)), number)
                        }
                        $crate::wire::EnumValue::Name(name) => {
                            format!(concat!("\"{}\" is no ", stringify!($Name)), name.escape_debug())
                        }
                    })
                })
            }
        }
    )*};
}

/// `method_name Variant(Arguments) Service { 1 argument: Type, … }`: an argument struct for each method and the two enums over them.
macro_rules! thrift_service {
    ($(
        $Service:ident $method:ident $Variant:ident($Arguments:ident) {
            $($id:literal $argument:ident: $Type:ty),* $(,)?
        }
    )*) => {
        $(thrift_struct! {
            #[doc = concat!("The arguments of [`Method::", stringify!($Variant), "`].")]
            pub struct $Arguments { $($id $argument: $Type),* }
        })*

        /// Every method of the interface.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        pub enum Method { $($Variant),* }

        impl Method {
            /// Every method, in the order of declaration.
            pub const ALL: &'static [Method] = &[$(Method::$Variant),*];

            /// The name on the wire.
            pub const fn name(self) -> &'static str {
                match self { $(Method::$Variant => camel_name!($method)),* }
            }

            /// The method of that name.
            pub fn from_name(name: &str) -> Option<Method> {
                Self::ALL.iter().copied().find(|method| method.name() == name)
            }

            /// The arguments in the order of declaration.
            pub const fn arguments(self) -> &'static [$crate::FieldSpec] {
                match self { $(Method::$Variant => $Arguments::FIELDS),* }
            }

            /// The service that declares it; it decides which permission a caller needs.
            pub const fn service(self) -> Service {
                match self { $(Method::$Variant => Service::$Service),* }
            }
        }

        /// A call with its arguments.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub enum Call { $($Variant($Arguments)),* }

        impl Call {
            /// Which method is called.
            pub const fn method(&self) -> Method {
                match self { $(Call::$Variant(_) => Method::$Variant),* }
            }

            /// Writes the argument struct.
            pub fn write_arguments<W: $crate::wire::Writer>(&self, writer: &mut W) {
                match self { $(Call::$Variant(arguments) => $crate::wire::Write::write(arguments, writer)),* }
            }

            /// Reads the argument struct of `method`.
            pub fn read_arguments<R: $crate::wire::Reader>(
                method: Method,
                reader: &mut R,
            ) -> $crate::error::Result<Call> {
                Ok(match method {
                    $(Method::$Variant => Call::$Variant($crate::wire::Read::read(reader)?)),*
                })
            }

            /// The call with no argument set, as an empty body of plain JSON means it.
            pub fn without_arguments(method: Method) -> Call {
                match method { $(Method::$Variant => Call::$Variant($Arguments::default())),* }
            }
        }

        $(impl From<$Arguments> for Call {
            fn from(arguments: $Arguments) -> Call {
                Call::$Variant(arguments)
            }
        })*
    };
}
