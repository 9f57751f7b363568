//! The system calls that a sandbox refuses, as a program for the kernel: sockets of the machine, which a file system that is
//! read-only and a network namespace of its own both leave open, and the keys that the kernel keeps for the session of whoever
//! runs it, to which no namespace belongs.

use std::io;
use std::os::fd::OwnedFd;

/// One instruction, as the kernel reads it (`struct sock_filter`): what to do, where to go on if a comparison holds and if
/// not, and the value.
type Instruction = (u16, u8, u8, u32);

/// Loads a word of what is known of the call.
const LOAD: u16 = 0x20;
/// Keeps some bits of what was loaded.
const AND: u16 = 0x54;
/// Whether it is this value.
const EQUAL: u16 = 0x15;
/// Whether it is this value or more.
const AT_LEAST: u16 = 0x35;
/// Ends with an answer.
const ANSWER: u16 = 0x06;

/// Where the number, the architecture and the first two arguments of a call are found. Both processors put the low half of
/// an argument first, and the kernel itself looks at no more of these two.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;
const SECOND_ARGUMENT: u32 = 24;

/// Answers: goes on, ends the process, fails as if the kernel were built without such sockets, or without the call.
const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;
const NO_SUCH_FAMILY: u32 = 0x0005_0000 | 97;
const NO_SUCH_CALL: u32 = 0x0005_0000 | 38;

/// `io_uring_setup`, on every processor: a ring makes and connects sockets without the calls that are looked at here.
const RING: u32 = 425;

/// Families that the network of the sandbox decides about: IPv4, IPv6, and what asks the kernel about both. Everything else
/// is refused, not only what is known to lead out: sockets to the hypervisor, for one, belong to no network namespace.
const FAMILIES: [u32; 3] = [2, 10, 16];
const UNIX: u32 = 1;

/// Connected pairs that cannot be connected to anything else. Those for datagrams can, and would reach a socket by its name.
const PAIRS: [u32; 2] = [1, 5];
const DATAGRAM: u32 = 2;

/// The bits of a socket's type that are its type.
const TYPE: u32 = 0xf;

/// What the filter has to know of a processor.
#[derive(Debug, Clone, Copy)]
struct Processor {
    /// Its name in the filter's language.
    audit: u32,
    /// The numbers of `socket` and `socketpair`.
    socket: u32,
    pair: u32,
    /// Those of `add_key`, `request_key` and `keyctl`.
    keys: [u32; 3],
    /// Whether numbers from here on are a second set of calls with other numbers for the same (x32).
    second_set: Option<u32>,
}

/// The filter for the processor that this program was built for; `unix` lets through sockets of the file system and abstract ones. `None`
/// for a processor whose numbers are not known here.
pub(super) fn own_filter(unix: bool) -> Option<Vec<u8>> {
    let known = [("x86_64", cfg!(target_arch = "x86_64")), ("aarch64", cfg!(target_arch = "aarch64"))];
    known.iter().find(|(_, own)| *own).and_then(|(name, _)| socket_filter(name, unix))
}

/// The same for a processor by its name.
fn socket_filter(processor: &str, unix: bool) -> Option<Vec<u8>> {
    let processor = match processor {
        "x86_64" => Processor {
            audit: 0xc000_003e,
            socket: 41,
            pair: 53,
            keys: [248, 249, 250],
            second_set: Some(0x4000_0000),
        },
        "aarch64" => {
            Processor { audit: 0xc000_00b7, socket: 198, pair: 199, keys: [217, 218, 219], second_set: None }
        }
        _ => return None,
    };
    let bytes = instructions(processor, unix).into_iter().flat_map(|(code, yes, no, value)| {
        let [code, value] = [code.to_le_bytes().to_vec(), value.to_le_bytes().to_vec()];
        [code, vec![yes, no], value].concat()
    });
    Some(bytes.collect())
}

fn instructions(processor: Processor, unix: bool) -> Vec<Instruction> {
    // Programs for another processor, such as those with 32 bits, hide the arguments of their calls behind a pointer, where
    // no filter can look. They end, which is easier to understand than calls that all fail.
    let mut program = vec![
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUAL, 1, 0, processor.audit),
        (ANSWER, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER),
    ];
    if let Some(from) = processor.second_set {
        program.extend([(AT_LEAST, 0, 1, from), (ANSWER, 0, 0, NO_SUCH_CALL)]);
    }
    for number in processor.keys.into_iter().chain([RING]) {
        program.extend([(EQUAL, 0, 1, number), (ANSWER, 0, 0, NO_SUCH_CALL)]);
    }
    let families = FAMILIES.into_iter().chain(unix.then_some(UNIX));
    program.extend(only(processor.socket, &[(LOAD, 0, 0, FIRST_ARGUMENT)], families));
    let pairs = PAIRS.into_iter().chain(unix.then_some(DATAGRAM));
    program.extend(only(processor.pair, &[(LOAD, 0, 0, SECOND_ARGUMENT), (AND, 0, 0, TYPE)], pairs));
    program.push((ANSWER, 0, 0, ALLOW));
    program
}

/// Lets a call through only where what `load` loads of it is one of these values.
fn only(
    number: u32,
    load: &[Instruction],
    values: impl IntoIterator<Item = u32>,
) -> impl Iterator<Item = Instruction> {
    let mut body = load.to_vec();
    for value in values {
        body.extend([(EQUAL, 0, 1, value), (ANSWER, 0, 0, ALLOW)]);
    }
    body.push((ANSWER, 0, 0, NO_SUCH_FAMILY));
    // A jump is at most 255 instructions far; there are a dozen.
    let length = u8::try_from(body.len()).unwrap_or(u8::MAX);
    std::iter::once((EQUAL, 0, length, number)).chain(body)
}

/// A filter as a file in memory that nobody can change any more. `bwrap` takes a descriptor, and no path.
#[cfg(target_os = "linux")]
pub(super) fn sealed_filter(filter: &[u8]) -> io::Result<OwnedFd> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

    use std::io::{Seek as _, Write as _};

    let mut file: std::fs::File =
        memfd_create("filter", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?.into();
    file.write_all(filter)?;
    file.rewind()?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file.into())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn sealed_filter(_filter: &[u8]) -> io::Result<OwnedFd> {
    // Nothing has a filter where there is no sandbox.
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would answer to a call.
    fn answer(processor: &str, unix: bool, [architecture, number, first, second]: [u32; 4]) -> u32 {
        let program = socket_filter(processor, unix).unwrap();
        let word = |at: usize| u32::from_le_bytes(program[at..at + 4].try_into().unwrap());
        let mut at = 0;
        let mut held = 0;
        loop {
            let start = at * 8;
            let code = u16::from_le_bytes([program[start], program[start + 1]]);
            let value = word(start + 4);
            at += 1;
            let holds = match code {
                LOAD => {
                    held = match value {
                        NUMBER => number,
                        ARCHITECTURE => architecture,
                        FIRST_ARGUMENT => first,
                        SECOND_ARGUMENT => second,
                        other => panic!("nothing is known of {other}"),
                    };
                    continue;
                }
                AND => {
                    held &= value;
                    continue;
                }
                ANSWER => return value,
                EQUAL => held == value,
                AT_LEAST => held >= value,
                other => panic!("no such instruction: {other}"),
            };
            at += usize::from(program[start + if holds { 2 } else { 3 }]);
        }
    }

    #[test]
    fn sockets_that_lead_out_of_the_sandbox_are_refused_on_every_processor_that_is_known() {
        let stream = 1;
        let datagram = 2;
        let close_on_exec = 0x8_0000;
        for (name, audit, socket, pair) in
            [("x86_64", 0xc000_003e, 41, 53), ("aarch64", 0xc000_00b7, 198, 199)]
        {
            let ask = |unix, call, first, second| answer(name, unix, [audit, call, first, second]);
            for (family, expected) in [
                (1, NO_SUCH_FAMILY),
                (2, ALLOW),
                (10, ALLOW),
                (16, ALLOW),
                (17, NO_SUCH_FAMILY),
                (40, NO_SUCH_FAMILY),
            ] {
                assert_eq!(ask(false, socket, family, stream), expected, "{name} {family}");
            }
            assert_eq!(ask(true, socket, 1, stream), ALLOW);
            assert_eq!(ask(true, socket, 40, stream), NO_SUCH_FAMILY);
            assert_eq!(ask(false, pair, 1, stream | close_on_exec), ALLOW);
            assert_eq!(ask(false, pair, 1, datagram | close_on_exec), NO_SUCH_FAMILY);
            assert_eq!(ask(true, pair, 1, datagram), ALLOW);
            let keys = if name == "x86_64" { 248..=250 } else { 217..=219 };
            for call in keys.chain([RING]) {
                assert_eq!((ask(false, call, 1, 0), ask(true, call, 1, 0)), (NO_SUCH_CALL, NO_SUCH_CALL));
            }
            assert_eq!(ask(false, 0, 1, datagram), ALLOW, "any other call");
            assert_eq!(answer(name, false, [0x4000_0003, 0, 0, 0]), KILL, "a program with 32 bits");
        }
        assert_eq!(answer("x86_64", false, [0xc000_003e, 0x4000_0000 + 41, 1, 1]), NO_SUCH_CALL);
        assert_eq!(socket_filter("riscv64", false), None);
    }
}
