//! Reads the tile instructions: a three-byte VEX prefix with L = 0 and W = 0, an opcode of map 0F38, ModRM, often SIB.

/// A tile instruction with its addresses worked out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Instruction {
    Configure { address: usize },
    Release,
    Zero { tile: usize },
    Load { tile: usize, address: usize, stride: usize },
    Store { tile: usize, address: usize, stride: usize },
    Dot { c: usize, a: usize, b: usize },
}

/// The mandatory prefix that VEX holds in two bits.
const NONE: u8 = 0;
const P66: u8 = 1;
const PF3: u8 = 2;
const PF2: u8 = 3;

/// Bytes of an instruction, read one after the other.
struct Reader<F> {
    code: F,
    at: usize,
}

impl<F: Fn(usize) -> u8> Reader<F> {
    fn byte(&mut self) -> u8 {
        let byte = (self.code)(self.at);
        self.at += 1;
        byte
    }

    /// A displacement of 1 or 4 bytes, sign-extended.
    fn displacement(&mut self, bytes: usize) -> usize {
        match bytes {
            0 => 0,
            1 => self.byte() as i8 as usize,
            _ => i32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()]) as usize,
        }
    }
}

/// The tile instruction whose bytes `code` gives and which lies at `rip`, and its length; none if it is another one.
/// `registers` are rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi and r8 to r15.
pub(crate) fn decode(code: impl Fn(usize) -> u8, rip: usize, registers: &[usize; 16]) -> Option<(Instruction, usize)> {
    let mut reader = Reader { code, at: 0 };
    let (vex, extensions, operands) = (reader.byte(), reader.byte(), reader.byte());
    // VEX holds the register extensions and the third operand inverted.
    let (x, b, map) = (usize::from(!extensions >> 6 & 1) << 3, usize::from(!extensions >> 5 & 1) << 3, extensions & 31);
    let (wide, third, long, prefix) = (operands >> 7, usize::from(!operands >> 3 & 15), operands >> 2 & 1, operands & 3);
    if vex != 0xC4 || extensions >> 7 == 0 || map != 2 || wide != 0 || long != 0 {
        return None;
    }
    let (opcode, modrm) = (reader.byte(), reader.byte());
    let (mode, reg, rm) = (modrm >> 6, usize::from(modrm >> 3 & 7), usize::from(modrm & 7));
    let in_memory = mode != 3;
    if opcode != 0x5C && third != 0 || opcode == 0x5C && third > 7 {
        return None;
    }
    let instruction = match (opcode, prefix, in_memory) {
        (0x49, NONE, false) if modrm == 0xC0 => Instruction::Release,
        (0x49, PF2, false) if rm == 0 => Instruction::Zero { tile: reg },
        (0x5C, PF3, false) if b == 0 => Instruction::Dot { c: reg, a: rm, b: third },
        (0x49, NONE, true) if reg == 0 => {
            let (address, stride) = memory(&mut reader, modrm, x, b, rip, registers);
            Instruction::Configure { address: address.wrapping_add(stride) }
        }
        // These need the SIB byte: its index register, scaled, is the distance from row to row.
        (0x4B, PF2 | P66 | PF3, true) if rm == 4 => {
            let (address, stride) = memory(&mut reader, modrm, x, b, rip, registers);
            if prefix == PF3 {
                Instruction::Store { tile: reg, address, stride }
            } else {
                Instruction::Load { tile: reg, address, stride }
            }
        }
        _ => return None,
    };
    Some((instruction, reader.at))
}

/// Base plus displacement, and scaled index, of an operand in memory.
fn memory<F: Fn(usize) -> u8>(
    reader: &mut Reader<F>,
    modrm: u8,
    x: usize,
    b: usize,
    rip: usize,
    registers: &[usize; 16],
) -> (usize, usize) {
    let (mode, rm) = (modrm >> 6, usize::from(modrm & 7));
    let displacement_bytes = [0, 1, 4][usize::from(mode)];
    if rm == 4 {
        let sib = reader.byte();
        let (scale, index, base) = (sib >> 6, usize::from(sib >> 3 & 7) | x, usize::from(sib & 7));
        let stride = if index == 4 { 0 } else { registers[index] << scale };
        // Without displacement, base 5 (rbp, r13) means no base and four bytes of displacement.
        let (base, displacement_bytes) = if base == 5 && mode == 0 { (0, 4) } else { (registers[base | b], displacement_bytes) };
        return (base.wrapping_add(reader.displacement(displacement_bytes)), stride);
    }
    if rm == 5 && mode == 0 {
        // Relative to the next instruction: no immediate follows.
        let displacement = reader.displacement(4);
        return (rip.wrapping_add(reader.at).wrapping_add(displacement), 0);
    }
    (registers[rm | b].wrapping_add(reader.displacement(displacement_bytes)), 0)
}
