//! The native module `_jobfile`: what the Python classes of job files are made of.
//!
//! It hands opaque handles of types, objects and tables to Python and does all the work on them; the Python side (see
//! `python/pystachio.py`) only gives them the look of classes. Failures become exceptions of the classes that the Python side
//! registers once with `register`.
#![allow(unsafe_code)] // The interpreter's macros generate it; none is written here.
#![allow(missing_docs)]

pub(crate) use _jobfile::module_def;

use rustpython_vm::pymodule;

#[pymodule]
mod _jobfile {
    use std::cell::RefCell;
    use std::rc::Rc;

    use rustpython_vm::builtins::{
        PyBaseExceptionRef, PyDict, PyDictRef, PyFloat, PyInt, PyList, PyListRef, PyRange, PyStr, PyTraceback, PyTuple,
        PyTupleRef, PyTypeRef,
    };
    use rustpython_vm::compiler::core::OneIndexed;
    use rustpython_vm::function::OptionalArg;
    use rustpython_vm::{AsObject, PyObjectRef, PyPayload, PyRef, PyResult, VirtualMachine, pyclass};

    use crate::interpreter::{division, outcome};
    use crate::object::{
        Binding, Environment, Fault, Field, Object, Origin, Piece, Raw, Reference, Shape, Type, TypeRef,
    };
    use crate::payload;
    use crate::schema::Schema;

    /// A handle of a type.
    #[pyattr]
    #[pyclass(name = "Kind", module = "_jobfile")]
    #[derive(Debug, PyPayload)]
    pub(crate) struct Kind {
        kind: TypeRef,
    }

    #[pyclass]
    impl Kind {
        #[pygetset]
        fn name(&self) -> String {
            self.kind.name().to_owned()
        }

        #[pygetset]
        fn fingerprint(&self) -> String {
            self.kind.fingerprint().to_owned()
        }

        #[pygetset]
        fn shape(&self) -> &'static str {
            match self.kind.shape() {
                Shape::String => "String",
                Shape::Integer => "Integer",
                Shape::Float => "Float",
                Shape::Boolean => "Boolean",
                Shape::Enum(_) => "Enum",
                Shape::List(_) => "List",
                Shape::Map(..) => "Map",
                Shape::Choice(_) => "Choice",
                Shape::Struct(_) => "Struct",
            }
        }

        #[pygetset]
        fn fields(&self, vm: &VirtualMachine) -> PyListRef {
            vm.ctx.new_list(self.kind.fields().iter().map(|field| vm.ctx.new_str(field.name.as_str()).into()).collect())
        }

        /// The types a list, a map or a choice is made of.
        #[pygetset]
        fn parts(&self, vm: &VirtualMachine) -> PyListRef {
            let parts: Vec<&TypeRef> = match self.kind.shape() {
                Shape::List(item) => vec![item],
                Shape::Map(key, value) => vec![key, value],
                Shape::Choice(alternatives) => alternatives.iter().collect(),
                _ => Vec::new(),
            };
            vm.ctx.new_list(parts.into_iter().map(|kind| handle(kind, vm)).collect())
        }

        #[pymethod]
        fn unknown_field(&self, name: PyRef<PyStr>, vm: &VirtualMachine) -> PyBaseExceptionRef {
            raise(self.kind.unknown_field(&text_of(&name)), vm)
        }
    }

    /// A handle of an object.
    #[pyattr]
    #[pyclass(name = "Core", module = "_jobfile")]
    #[derive(Debug, PyPayload)]
    pub(crate) struct Core {
        pub(crate) object: Object,
    }

    #[pyclass]
    impl Core {
        #[pygetset]
        fn kind(&self, vm: &VirtualMachine) -> PyObjectRef {
            handle(self.object.kind(), vm)
        }

        #[pygetset]
        fn fingerprint(&self) -> String {
            self.object.kind().fingerprint().to_owned()
        }

        #[pymethod]
        fn with_fields(&self, keywords: PyDictRef, vm: &VirtualMachine) -> PyResult<Core> {
            let keywords = keywords_of(keywords, vm)?;
            let object = self.object.with_fields(keywords).map_err(|fault| raise(fault, vm))?;
            Ok(Core { object: object.made_at(origin(vm)) })
        }

        #[pymethod]
        fn as_kind(&self, kind: PyRef<Kind>) -> Core {
            Core { object: self.object.as_kind(&kind.kind) }
        }

        #[pymethod]
        fn bind(&self, bindings: PyTupleRef, names: PyDictRef, vm: &VirtualMachine) -> PyResult<Core> {
            let bindings = bindings_of(bindings, names, vm)?;
            self.object.bind(bindings).map(|object| Core { object }).map_err(|fault| raise(fault, vm))
        }

        #[pymethod]
        fn in_scope(&self, bindings: PyTupleRef, names: PyDictRef, vm: &VirtualMachine) -> PyResult<Core> {
            let bindings = bindings_of(bindings, names, vm)?;
            self.object.in_scope(bindings).map(|object| Core { object }).map_err(|fault| raise(fault, vm))
        }

        #[pymethod]
        fn interpolate(&self, vm: &VirtualMachine) -> PyResult<PyTupleRef> {
            let (object, unbound) = self.object.interpolate().map_err(|fault| raise(fault, vm))?;
            let unbound = unbound.iter().map(|reference| vm.ctx.new_str(reference.address()).into()).collect();
            Ok(vm.ctx.new_tuple(vec![Core { object }.into_pyobject(vm), vm.ctx.new_list(unbound).into()]))
        }

        /// A field resolved in the object's scopes; `None` when unset.
        #[pymethod]
        fn field(&self, name: PyRef<PyStr>, vm: &VirtualMachine) -> PyResult<Option<Core>> {
            let object = self.object.field(&text_of(&name)).map_err(|fault| raise(fault, vm))?;
            Ok(object.map(|object| Core { object }))
        }

        #[pymethod]
        fn has(&self, name: PyRef<PyStr>) -> bool {
            self.object.raw_field(&text_of(&name)).is_some()
        }

        #[pymethod]
        fn raw(&self, vm: &VirtualMachine) -> PyResult {
            python_of(&self.object.raw().map_err(|fault| raise(fault, vm))?, vm)
        }

        /// Why the check failed; `None` when it passed.
        #[pymethod]
        fn check(&self, vm: &VirtualMachine) -> PyResult<Option<String>> {
            self.object.check().map(|failed| failed.map(|failed| failed.why)).map_err(|fault| raise(fault, vm))
        }

        #[pymethod]
        fn text(&self, vm: &VirtualMachine) -> PyResult<String> {
            self.object.text().map_err(|fault| raise(fault, vm))
        }

        #[pymethod]
        fn literal(&self, vm: &VirtualMachine) -> PyResult<String> {
            if matches!(self.object.kind().shape(), Shape::Choice(_)) {
                return Ok(self.object.literal());
            }
            self.object.interpolate().map(|(object, _)| object.literal()).map_err(|fault| raise(fault, vm))
        }

        #[pymethod]
        fn same(&self, other: PyRef<Core>, vm: &VirtualMachine) -> PyResult<bool> {
            self.object.same(&other.object).map_err(|fault| raise(fault, vm))
        }

        /// The resolved elements of a list.
        #[pymethod]
        fn items(&self, vm: &VirtualMachine) -> PyResult<PyListRef> {
            let (object, _) = self.object.interpolate().map_err(|fault| raise(fault, vm))?;
            let items = object.raw_items().iter().map(|item| Core { object: item.clone() }.into_pyobject(vm));
            Ok(vm.ctx.new_list(items.collect()))
        }

        /// The resolved entries of a map.
        #[pymethod]
        fn entries(&self, vm: &VirtualMachine) -> PyResult<PyListRef> {
            let (object, _) = self.object.interpolate().map_err(|fault| raise(fault, vm))?;
            let entries = object.raw_entries().iter().map(|(key, value)| {
                let pair = [key, value].map(|part| Core { object: part.clone() }.into_pyobject(vm));
                vm.ctx.new_tuple(pair.to_vec()).into()
            });
            Ok(vm.ctx.new_list(entries.collect()))
        }

        #[pymethod]
        fn json(&self, vm: &VirtualMachine) -> PyResult<String> {
            let resolved = self.object.interpolate().and_then(|(object, _)| Ok((object.json()?, object)));
            let (json, object) = resolved.map_err(|fault| raise(fault, vm))?;
            Ok(payload::text_as(object.kind(), &json, &payload::insertions(&object)))
        }
    }

    /// A handle of a table of bindings.
    #[pyattr]
    #[pyclass(name = "Table", module = "_jobfile")]
    #[derive(Debug, PyPayload)]
    pub(crate) struct Table {
        environment: Rc<Environment>,
    }

    #[pyclass]
    impl Table {
        #[pymethod]
        fn addresses(&self, vm: &VirtualMachine) -> PyListRef {
            let addresses = self.environment.addresses().map(|address| vm.ctx.new_str(address.address()).into());
            vm.ctx.new_list(addresses.collect())
        }
    }

    /// What the Python side tells once: the class of each kind of failure, the mark for unset fields, and how to put a
    /// class around a handle.
    struct Registered {
        faults: PyDictRef,
        empty: PyObjectRef,
        wrap: PyObjectRef,
        dictionary: PyObjectRef,
    }

    thread_local! {
        static REGISTERED: RefCell<Option<Rc<Registered>>> = const { RefCell::new(None) };
    }

    fn registered() -> Rc<Registered> {
        REGISTERED.with(|registered| registered.borrow().clone()).expect("the Python side has registered itself")
    }

    #[pyfunction]
    fn register(
        faults: PyDictRef,
        empty: PyObjectRef,
        wrap: PyObjectRef,
        dictionary: PyObjectRef,
        _vm: &VirtualMachine,
    ) {
        let all = Registered { faults, empty, wrap, dictionary };
        REGISTERED.with(|registered| *registered.borrow_mut() = Some(Rc::new(all)));
    }

    #[pyfunction]
    fn built_in_types(vm: &VirtualMachine) -> PyListRef {
        vm.ctx.new_list(Schema::get().types().iter().map(|kind| handle(kind, vm)).collect())
    }

    #[pyfunction]
    fn list_type(item: PyRef<Kind>) -> Kind {
        Kind { kind: Type::list(&item.kind) }
    }

    #[pyfunction]
    fn map_type(key: PyRef<Kind>, value: PyRef<Kind>) -> Kind {
        Kind { kind: Type::map(&key.kind, &value.kind) }
    }

    #[pyfunction]
    fn choice_type(name: Option<PyRef<PyStr>>, alternatives: Vec<PyRef<Kind>>) -> Kind {
        let name = name.map(|name| text_of(&name));
        let alternatives = alternatives.iter().map(|kind| kind.kind.clone()).collect();
        Kind { kind: Type::choice(name.as_deref(), alternatives) }
    }

    #[pyfunction]
    fn enum_type(name: PyRef<PyStr>, values: Vec<PyRef<PyStr>>) -> Kind {
        Kind { kind: Type::enumeration(&text_of(&name), values.iter().map(|value| text_of(value)).collect()) }
    }

    /// A struct from tuples of field name, type, whether it is required, and its default (or the mark for none).
    #[pyfunction]
    fn struct_type(name: PyRef<PyStr>, fields: Vec<PyTupleRef>, vm: &VirtualMachine) -> PyResult<Kind> {
        let empty = registered().empty.clone();
        let fields = fields.iter().map(|field| {
            let [name, kind, required, default] = field.as_slice() else {
                return Err(vm.new_type_error("a field has four parts"));
            };
            let name = text_of(&*name.clone().try_into_value::<PyRef<PyStr>>(vm)?);
            let kind = kind.clone().try_into_value::<PyRef<Kind>>(vm)?;
            let required = required.clone().try_into_value::<bool>(vm)?;
            let default = if default.is(&empty) { None } else { Some(raw_of(default, vm)?) };
            Field::new(&name, &kind.kind, required, default)
                .map_err(|fault| raise(fault.within(&format!("the default of field '{name}'")), vm))
        });
        Ok(Kind { kind: Type::structure(&text_of(&name), fields.collect::<PyResult<_>>()?) })
    }

    /// The type of a struct's field.
    #[pyfunction]
    fn field_type(kind: PyRef<Kind>, name: PyRef<PyStr>, vm: &VirtualMachine) -> PyResult<Kind> {
        let name = text_of(&name);
        match kind.kind.field_index(&name) {
            Some(index) => Ok(Kind { kind: kind.kind.fields()[index].kind.clone() }),
            None => Err(raise(kind.kind.unknown_field(&name), vm)),
        }
    }

    #[pyfunction]
    fn derived_type(name: PyRef<PyStr>, base: PyRef<Kind>, serial: usize, vm: &VirtualMachine) -> PyResult<Kind> {
        Type::derived(&text_of(&name), &base.kind, serial).map(|kind| Kind { kind }).map_err(|fault| raise(fault, vm))
    }

    /// An object of any type but a struct or a map of pairs, from one value.
    #[pyfunction]
    fn construct(kind: PyRef<Kind>, value: PyObjectRef, vm: &VirtualMachine) -> PyResult<Core> {
        let raw = raw_of(&value, vm)?;
        let object = Object::construct(&kind.kind, raw).map_err(|fault| raise(fault, vm))?;
        Ok(Core { object: object.made_at(origin(vm)) })
    }

    #[pyfunction]
    fn construct_struct(
        kind: PyRef<Kind>,
        dictionaries: PyTupleRef,
        keywords: PyDictRef,
        vm: &VirtualMachine,
    ) -> PyResult<Core> {
        let dictionaries = dictionaries.iter().map(|value| raw_of(value, vm)).collect::<PyResult<_>>()?;
        let keywords = keywords_of(keywords, vm)?;
        let object = Object::construct_struct(&kind.kind, dictionaries, keywords).map_err(|fault| raise(fault, vm))?;
        Ok(Core { object: object.made_at(origin(vm)) })
    }

    /// A map from pairs.
    #[pyfunction]
    fn construct_map(kind: PyRef<Kind>, pairs: PyTupleRef, vm: &VirtualMachine) -> PyResult<Core> {
        let mut entries = Vec::new();
        for pair in pairs.iter() {
            match raw_of(pair, vm)? {
                Raw::List(pair) if pair.len() == 2 => {
                    let mut pair = pair.into_iter();
                    entries.extend(pair.next().zip(pair.next()));
                }
                other => {
                    let text = format!("{} expects a dictionary or pairs, not {}", kind.kind.name(), other.literal());
                    return Err(raise(Fault::Value(text), vm));
                }
            }
        }
        Object::construct_map(&kind.kind, entries).map(|object| Core { object }).map_err(|fault| raise(fault, vm))
    }

    /// A table from dictionaries and tables, then names.
    #[pyfunction]
    fn table(parts: PyTupleRef, names: PyDictRef, vm: &VirtualMachine) -> PyResult<Table> {
        let mut environment = Environment::default();
        for binding in bindings_of(parts, names, vm)? {
            match binding {
                Binding::Environment(part) => environment.absorb(&part),
                _ => {
                    return Err(raise(Fault::Value("Environment expects dictionaries or Environments".to_owned()), vm));
                }
            }
        }
        Ok(Table { environment: Rc::new(environment) })
    }

    /// The components of an address as tuples of kind (`name` or `index`) and text.
    #[pyfunction]
    fn parse_reference(address: PyRef<PyStr>, vm: &VirtualMachine) -> PyResult<PyListRef> {
        let reference = Reference::parse(&text_of(&address)).map_err(|fault| raise(fault, vm))?;
        let components = reference.components().iter().map(|component| {
            let (kind, text) = match component {
                crate::object::Component::Name(name) => ("name", name),
                crate::object::Component::Index(index) => ("index", index),
            };
            vm.ctx.new_tuple(vec![vm.ctx.new_str(kind).into(), vm.ctx.new_str(text.as_str()).into()]).into()
        });
        Ok(vm.ctx.new_list(components.collect()))
    }

    /// A text in its pieces: plain texts as they are, references as tuples of one address.
    #[pyfunction]
    fn split_template(text: PyRef<PyStr>, keep: OptionalArg<bool>, vm: &VirtualMachine) -> PyResult<PyListRef> {
        let text = text_of(&text);
        let mark = if keep.unwrap_or(false) { "&" } else { "" };
        let pieces =
            crate::object::split(&text).map_err(|fault| raise(fault, vm))?.into_iter().map(|piece| match piece {
                Piece::Text(text) => vm.ctx.new_str(text).into(),
                Piece::Escaped(inside) => vm.ctx.new_str(format!("{{{{{mark}{inside}}}}}")).into(),
                Piece::Reference(reference) => {
                    vm.ctx.new_tuple(vec![vm.ctx.new_str(reference.address()).into()]).into()
                }
            });
        Ok(vm.ctx.new_list(pieces.collect()))
    }

    /// The numbers of different values in the order in which a set of Aurora's Python gave them.
    #[pyfunction]
    fn set_order(values: PyObjectRef, vm: &VirtualMachine) -> PyResult<PyListRef> {
        let values = match raw_of(&values, vm)? {
            Raw::List(values) => values,
            other => vec![other],
        };
        let order =
            crate::object::dictionary::set_order(&values).into_iter().map(|number| vm.ctx.new_int(number).into());
        Ok(vm.ctx.new_list(order.collect()))
    }

    /// Notes that a job file is about to run; false when it may not, because it has forms of Python 2.
    #[pyfunction]
    fn begin_file(path: PyRef<PyStr>, text: PyRef<PyStr>, vm: &VirtualMachine) -> bool {
        division::watch(vm);
        outcome::begin_file(text_of(&path), &text_of(&text))
    }

    /// Gives a built-in type an attribute.
    #[pyfunction]
    fn set_type_attribute(kind: PyTypeRef, name: PyRef<PyStr>, value: PyObjectRef, vm: &VirtualMachine) {
        kind.set_attr(vm.ctx.intern_str(text_of(&name)), value);
    }

    /// Where a frame of a traceback stopped: line and column, last line and the column behind the last character, from 1.
    #[pyfunction]
    fn position(trace: PyRef<PyTraceback>, vm: &VirtualMachine) -> PyTupleRef {
        // An instruction is two bytes long.
        let (from, to) = match trace.frame.code.locations.get(trace.lasti as usize / 2) {
            Some((from, to)) => ((from.line, from.character_offset), (to.line, to.character_offset)),
            None => ((trace.lineno, OneIndexed::MIN), (trace.lineno, OneIndexed::MIN)),
        };
        let numbers = [from.0, from.1, to.0, to.1].map(|number| vm.ctx.new_int(number.get()).into());
        vm.ctx.new_tuple(numbers.to_vec())
    }

    /// Takes over what evaluating the file came to.
    #[pyfunction]
    fn deliver(kind: PyRef<PyStr>, parts: PyObjectRef, vm: &VirtualMachine) -> PyResult<()> {
        outcome::deliver(&text_of(&kind), &parts, vm)
    }

    fn handle(kind: &TypeRef, vm: &VirtualMachine) -> PyObjectRef {
        Kind { kind: kind.clone() }.into_pyobject(vm)
    }

    /// The line of the job file that is being run.
    fn origin(vm: &VirtualMachine) -> Option<Origin> {
        let mut frame = vm.current_frame();
        while let Some(at) = frame {
            if let Some(file) = outcome::job_file(at.code.source_path().as_str()) {
                // The instruction under way is the one before the next.
                let location = (at.lasti() as usize).checked_sub(1).and_then(|last| at.code.locations.get(last));
                let columns =
                    location.map(|(from, to)| (from.character_offset.get(), to.line.get(), to.character_offset.get()));
                return Some(Origin { file, line: at.f_lineno(), columns });
            }
            frame = at.f_back(vm);
        }
        None
    }

    fn text_of(text: &PyStr) -> String {
        text.to_string_lossy().into_owned()
    }

    /// The exception for a failure.
    fn raise(fault: Fault, vm: &VirtualMachine) -> PyBaseExceptionRef {
        let name = match &fault {
            Fault::Coercion(_) => "Coercion",
            Fault::Value(_) => "Value",
            Fault::Type(_) => "Type",
            Fault::UnknownField(_) => "UnknownField",
            Fault::InvalidReference(_) => "InvalidReference",
            Fault::Endless(_) => "Endless",
            Fault::Key(_) => "Key",
            Fault::Index(_) => "Index",
        };
        let class = registered().faults.get_item(name, vm).and_then(|class| class.try_into_value(vm));
        match class {
            Ok(class) => vm.new_exception_msg(class, fault.message().into()),
            Err(other) => other,
        }
    }

    fn keywords_of(keywords: PyDictRef, vm: &VirtualMachine) -> PyResult<Vec<(String, Raw)>> {
        keywords
            .items_vec()
            .into_iter()
            .map(|(key, value)| Ok((text_of(&*key.try_into_value::<PyRef<PyStr>>(vm)?), raw_of(&value, vm)?)))
            .collect()
    }

    fn bindings_of(positional: PyTupleRef, names: PyDictRef, vm: &VirtualMachine) -> PyResult<Vec<Binding>> {
        let mut bindings = Vec::new();
        for value in positional.iter() {
            bindings.push(binding_of(value, vm)?);
        }
        if !names.is_empty() {
            bindings.push(binding_of(names.as_object(), vm)?);
        }
        Ok(bindings)
    }

    fn binding_of(value: &rustpython_vm::PyObject, vm: &VirtualMachine) -> PyResult<Binding> {
        if let Some(dict) = value.downcast_ref::<PyDict>() {
            let mut environment = Environment::default();
            for (key, value) in dict.items_vec() {
                let key = raw_of(&key, vm)?;
                let Raw::Text(address) = &key else {
                    return Err(raise(
                        Fault::Value(format!("the name of a binding must be a text, not {}", key.literal())),
                        vm,
                    ));
                };
                let address = Reference::parse(address).map_err(|fault| raise(fault, vm))?;
                environment.bind(&address, binding_of(&value, vm)?);
            }
            return Ok(Binding::Environment(Rc::new(environment)));
        }
        // An object has no such attribute, and looking for one among its fields takes long.
        let raw = raw_of(value, vm)?;
        if let Raw::Foreign { .. } = raw
            && let Ok(inner) = value.get_attr("_table", vm)
            && let Some(table) = inner.downcast_ref::<Table>()
        {
            return Ok(Binding::Environment(table.environment.clone()));
        }
        Binding::from_raw(raw).map_err(|fault| raise(fault, vm))
    }

    /// How deep lists and dictionaries may be nested in a value. Ones that hold themselves have no end.
    const NESTING_MAX: usize = 200;

    /// A Python value as it is, copied.
    pub(crate) fn raw_of(value: &rustpython_vm::PyObject, vm: &VirtualMachine) -> PyResult<Raw> {
        raw_below(value, 0, vm)
    }

    fn raw_below(value: &rustpython_vm::PyObject, depth: usize, vm: &VirtualMachine) -> PyResult<Raw> {
        if depth > NESTING_MAX {
            let text = format!("a value is nested more than {NESTING_MAX} deep, or holds itself");
            return Err(raise(Fault::Value(text), vm));
        }
        let below = |value: &rustpython_vm::PyObject| raw_below(value, depth + 1, vm);
        if vm.is_none(value) {
            return Ok(Raw::None);
        }
        if let Some(text) = value.downcast_ref::<PyStr>() {
            return Ok(Raw::Text(text_of(text)));
        }
        if let Some(number) = value.downcast_ref::<PyInt>() {
            return Ok(if value.class().is(vm.ctx.types.bool_type) {
                Raw::Boolean(number.as_bigint() != &num_bigint::BigInt::ZERO)
            } else {
                Raw::Integer(number.as_bigint().clone())
            });
        }
        if let Some(number) = value.downcast_ref::<PyFloat>() {
            return Ok(Raw::Float(number.to_f64()));
        }
        if let Some(list) = value.downcast_ref::<PyList>() {
            let items: Vec<PyObjectRef> = list.borrow_vec().to_vec();
            return Ok(Raw::List(items.iter().map(|item| below(item)).collect::<PyResult<_>>()?));
        }
        if let Some(tuple) = value.downcast_ref::<PyTuple>() {
            return Ok(Raw::List(tuple.iter().map(|item| below(item)).collect::<PyResult<_>>()?));
        }
        if let Some(dict) = value.downcast_ref::<PyDict>() {
            let entries = dict.items_vec().into_iter();
            let entries = entries.map(|(key, value)| Ok((below(&key)?, below(&value)?)));
            return Ok(Raw::Map(entries.collect::<PyResult<_>>()?));
        }
        other_raw_of(value, vm)
    }

    /// Marks, our own objects, and what is neither.
    fn other_raw_of(value: &rustpython_vm::PyObject, vm: &VirtualMachine) -> PyResult<Raw> {
        if value.is(&registered().empty) {
            return Ok(Raw::empty());
        }
        if value.downcast_ref::<PyRange>().is_some() {
            let numbers: Vec<PyObjectRef> = value.to_owned().try_to_value(vm)?;
            return Ok(Raw::List(numbers.iter().map(|number| raw_below(number, 0, vm)).collect::<PyResult<_>>()?));
        }
        if let Ok(inner) = value.get_attr("_core", vm)
            && let Some(core) = inner.downcast_ref::<Core>()
        {
            return Ok(Raw::Object(core.object.clone()));
        }
        let class = value.class().name().to_string();
        let shown = value.repr(vm).map_or_else(|_| format!("<{class}>"), |text| text.to_string_lossy().into_owned());
        // An address in memory tells nothing and is another one each time.
        let shown = match shown.split_once(" at 0x") {
            Some((before, address)) => {
                format!("{before}{}", address.trim_start_matches(|c: char| c.is_ascii_hexdigit()))
            }
            None => shown,
        };
        Ok(Raw::Foreign { class, shown })
    }

    fn python_of(raw: &Raw, vm: &VirtualMachine) -> PyResult {
        Ok(match raw {
            Raw::None | Raw::Foreign { .. } => vm.ctx.none(),
            Raw::Boolean(value) => vm.ctx.new_bool(*value).into(),
            Raw::Integer(value) => vm.ctx.new_bigint(value).into(),
            Raw::Float(value) => vm.ctx.new_float(*value).into(),
            Raw::Text(text) => vm.ctx.new_str(text.as_str()).into(),
            Raw::List(items) => {
                vm.ctx.new_tuple(items.iter().map(|item| python_of(item, vm)).collect::<PyResult<_>>()?).into()
            }
            Raw::Map(entries) => {
                let dict = vm.ctx.new_dict();
                for (key, value) in entries {
                    dict.set_item(&*python_of(key, vm)?, python_of(value, vm)?, vm)?;
                }
                registered().dictionary.call((dict,), vm)?
            }
            Raw::Object(object) => registered().wrap.call((Core { object: object.clone() }.into_pyobject(vm),), vm)?,
        })
    }
}
pub(crate) use _jobfile::raw_of;
