//! Unix stream sockets that carry the framed messages of [`crate::protocol`] and, beside them, descriptors. Never blocking, never raising SIGPIPE.

use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::protocol::{Incoming, WireError, encode};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

/// One end of a connection.
#[derive(Debug)]
pub struct Channel {
    descriptor: OwnedFd,
    incoming: Incoming,
    received: VecDeque<OwnedFd>,
    /// Frames not yet sent; each with the descriptor that travels with its first byte.
    outgoing: VecDeque<(Vec<u8>, usize, Option<OwnedFd>)>,
    ended: bool,
}

impl Channel {
    /// Wraps a connected stream socket, which is made non-blocking.
    pub fn new(descriptor: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&descriptor, true)?;
        Ok(Self {
            descriptor,
            incoming: Incoming::default(),
            received: VecDeque::new(),
            outgoing: VecDeque::new(),
            ended: false,
        })
    }

    /// Two ends connected with each other; the first is wrapped, the second is to be given away.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (near, far) = rustix::net::socketpair(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::STREAM,
            rustix::net::SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self::new(near)?, far))
    }

    /// Sends a message, or keeps it until [`Channel::flush`] can. After the peer is gone it is dropped.
    pub fn send(&mut self, message: &impl prost::Message, descriptor: Option<OwnedFd>) {
        if self.ended {
            return;
        }
        let mut frame = Vec::with_capacity(256);
        encode(message, &mut frame);
        self.outgoing.push_back((frame, 0, descriptor));
        self.flush();
    }

    /// Sends what waits, as far as the peer takes it. Returns whether something is left.
    pub fn flush(&mut self) -> bool {
        while let Some((frame, sent, descriptor)) = self.outgoing.front_mut() {
            let rest = [io::IoSlice::new(&frame[*sent..])];
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            let result = if let Some(descriptor) = descriptor.as_ref() {
                let given = [descriptor.as_fd()];
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                control.push(SendAncillaryMessage::ScmRights(&given));
                rustix::net::sendmsg(&self.descriptor, &rest, &mut control, flags)
            } else {
                rustix::net::send(&self.descriptor, &frame[*sent..], flags)
            };
            match result {
                Ok(count) => {
                    *descriptor = None;
                    *sent += count;
                    if *sent == frame.len() {
                        self.outgoing.pop_front();
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::NOBUFS | rustix::io::Errno::TOOMANYREFS) => {
                    return true;
                }
                Err(_) => {
                    self.ended = true;
                    self.outgoing.clear();
                }
            }
        }
        false
    }

    /// Whether something waits to be sent.
    pub fn wants_to_send(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Reads what has arrived. Afterwards take it with [`Channel::next_message`]; [`Channel::is_ended`] says whether more can come.
    pub fn receive(&mut self) {
        let mut buffer = [0_u8; 16 << 10];
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
            let result =
                rustix::net::recvmsg(&self.descriptor, &mut [io::IoSliceMut::new(&mut buffer)], &mut control, flags);
            match result {
                Ok(message) if message.bytes == 0 => {
                    self.ended = true;
                    return;
                }
                Ok(message) => {
                    for ancillary in control.drain() {
                        if let RecvAncillaryMessage::ScmRights(descriptors) = ancillary {
                            self.received.extend(descriptors);
                        }
                    }
                    self.incoming.extend(&buffer[..message.bytes]);
                    if message.bytes < buffer.len() {
                        return;
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                Err(_) => {
                    self.ended = true;
                    return;
                }
            }
        }
    }

    /// The next message that has arrived whole. After an error the connection is ended.
    pub fn next_message<M: prost::Message + Default>(&mut self) -> Result<Option<M>, WireError> {
        let result = self.incoming.next_message();
        self.ended |= result.is_err();
        result
    }

    /// The next descriptor that came beside a message, in the order of sending.
    pub fn next_descriptor(&mut self) -> Option<OwnedFd> {
        self.received.pop_front()
    }

    /// Whether the peer is gone.
    pub fn is_ended(&self) -> bool {
        self.ended
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
