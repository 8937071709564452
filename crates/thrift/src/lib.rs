//! Aurora's API schema, its Thrift JSON, binary and plain JSON codecs, and the conversion to the model. No behaviour.
