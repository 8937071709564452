//! Long replies: lists whose elements are written one after the other into the bytes that leave. No tree of the reply ever exists, and
//! a long reply leaves in pieces while the rest is still unwritten. The bytes are those of the reply encoded as a whole.

pub mod jobs;
pub mod tasks;

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use thrift::{
    FieldSpec, Kind, Method, Response, ResponseCode, ResponseResult, ServerInfo, Write, Writer, begin_reply, end_reply,
};

/// A piece leaves once it is this long.
const PIECE_BYTES: usize = 256 << 10;

/// What stands around the list.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Echoed; `None` for a reply without an envelope (plain JSON).
    pub envelope: Option<(Method, i32)>,
    /// Who answers.
    pub server_info: ServerInfo,
}

/// A result that is one list or set of structs, and how each of them is written.
pub trait Listing: Send + 'static {
    /// Number of the result in [`ResponseResult`].
    const RESULT: i16;
    /// Fields of the result; the elements are in the one numbered 1.
    const FIELDS: &'static [FieldSpec];
    /// What an element is made from.
    type Element: Send + 'static;

    /// Writes one.
    fn write<W: Writer>(&mut self, element: &Self::Element, writer: &mut W);
}

/// The pieces of a reply.
struct Pieces<W, L: Listing> {
    writer: W,
    elements: std::vec::IntoIter<L::Element>,
    listing: L,
    frame: Frame,
    ended: bool,
}

/// A body with every element. Short ones are written at once and have a length, long ones leave in pieces.
pub fn body<W: Writer + Send + 'static, L: Listing>(elements: Vec<L::Element>, listing: L, frame: Frame) -> Body {
    let mut pieces = Pieces::<W, L>::new(elements, listing, frame);
    let first = pieces.next().unwrap_or_default();
    if pieces.ended {
        return Body::from(first);
    }
    let all = std::iter::once(first).chain(pieces).map(Ok::<Vec<u8>, Infallible>);
    Body::from_stream(futures::stream::iter(all.map(|piece| piece.map(Bytes::from))))
}

impl<W: Writer, L: Listing> Pieces<W, L> {
    fn new(elements: Vec<L::Element>, listing: L, frame: Frame) -> Self {
        let is_long = elements.len() > 64;
        let mut writer = W::with_buffer(Vec::with_capacity(if is_long { PIECE_BYTES + 4096 } else { 4096 }));
        if let Some((method, sequence_id)) = frame.envelope {
            begin_reply(&mut writer, method, sequence_id);
        }
        writer.struct_begin();
        field(&mut writer, FieldSpec::of(Response::FIELDS, 1), &ResponseCode::Ok);
        writer.field_begin(FieldSpec::of(Response::FIELDS, 3));
        writer.struct_begin();
        writer.field_begin(FieldSpec::of(ResponseResult::FIELDS, L::RESULT));
        writer.struct_begin();
        writer.field_begin(FieldSpec::of(L::FIELDS, 1));
        writer.list_begin(Kind::Struct, elements.len());
        Pieces { writer, elements: elements.into_iter(), listing, frame, ended: false }
    }

    fn finish(&mut self) {
        let writer = &mut self.writer;
        writer.list_end();
        writer.field_end();
        writer.struct_end();
        writer.field_end();
        writer.struct_end();
        writer.field_end();
        field(writer, FieldSpec::of(Response::FIELDS, 5), &self.frame.server_info);
        writer.field_begin(FieldSpec::of(Response::FIELDS, 6));
        writer.list_begin(Kind::Struct, 0);
        writer.list_end();
        writer.field_end();
        writer.struct_end();
        if self.frame.envelope.is_some() {
            end_reply(writer);
        }
        self.ended = true;
    }
}

impl<W: Writer, L: Listing> Iterator for Pieces<W, L> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.ended {
            return None;
        }
        while self.writer.buffer().len() < PIECE_BYTES {
            match self.elements.next() {
                Some(element) => {
                    self.writer.element();
                    self.listing.write(&element, &mut self.writer);
                }
                None => {
                    self.finish();
                    return Some(std::mem::replace(&mut self.writer, W::new()).into_buffer());
                }
            }
        }
        Some(self.writer.take_buffer(Vec::with_capacity(PIECE_BYTES + 4096)))
    }
}

fn field<W: Writer>(writer: &mut W, spec: &FieldSpec, value: &impl Write) {
    writer.field_begin(spec);
    value.write(writer);
    writer.field_end();
}

/// The whole reply and the number of its pieces.
#[cfg(test)]
fn joined<W: Writer, L: Listing>(
    elements: Vec<L::Element>,
    listing: L,
    envelope: Option<(Method, i32)>,
) -> (Vec<u8>, usize) {
    let server_info = ServerInfo { cluster_name: "c".to_owned(), stats_url_prefix: String::new() };
    let pieces: Vec<Vec<u8>> = Pieces::<W, L>::new(elements, listing, Frame { envelope, server_info }).collect();
    (pieces.concat(), pieces.len())
}
