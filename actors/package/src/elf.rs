//! The headers of executables.

use std::fs::File;
use std::path::Path;

use object::elf::{EM_AARCH64, EM_X86_64, ET_DYN, ET_EXEC, FileHeader64, SHT_GNU_VERDEF, SHT_GNU_VERNEED};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, SectionTable};
use object::{Endianness, ReadCache, ReadRef};

use crate::platform::Needs;
use crate::unfit::Unfit;
use crate::version::Version;

/// A table of versions has a few KiB.
const TABLE_BYTES: u64 = 1 << 20;
/// A path of a loader is shorter.
const LOADER_BYTES: u64 = 4 << 10;

type Header = FileHeader64<Endianness>;

/// What a program needs to be started.
pub(crate) fn needs(file: File) -> Result<Needs, Unfit> {
    let cache = ReadCache::new(file);
    let data = &cache;
    let header = Header::parse(data).map_err(|_| Unfit::NotElf)?;
    let endian = header.endian().map_err(damaged)?;
    let starts = header.e_entry(endian) != 0;
    if !matches!(header.e_type(endian), ET_EXEC | ET_DYN) || !starts {
        return Err(Unfit::NotAProgram);
    }
    let machine = machine(header, endian);
    let mut loader = None;
    for segment in header.program_headers(endian, data).map_err(damaged)? {
        if segment.p_filesz(endian) <= LOADER_BYTES
            && let Some(path) = segment.interpreter(endian, data).map_err(damaged)?
        {
            loader = Some(String::from_utf8_lossy(path).into_owned());
        }
    }
    let glibc = needed_glibc(header, endian, data)?;
    Ok(Needs { machine, loader, glibc })
}

/// The newest version of glibc that the library in a file says it is.
pub(crate) fn defined_glibc(path: &Path) -> Option<Version> {
    let cache = ReadCache::new(File::open(path).ok()?);
    let data = &cache;
    let header = Header::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let sections = sections(header, endian, data).ok()?;
    let (definitions, link) = sections.gnu_verdef(endian, data).ok()??;
    let strings = sections.strings(endian, data, link).ok()?;
    let names = definitions.filter_map(|definition| {
        let (_, mut names) = definition.ok()?;
        names.next().ok()??.name(endian, strings).ok()
    });
    names.filter_map(Version::of_symbol).max()
}

fn machine(header: &Header, endian: Endianness) -> String {
    match (header.e_machine(endian), endian) {
        (EM_X86_64, Endianness::Little) => "x86_64".to_owned(),
        (EM_AARCH64, Endianness::Little) => "aarch64".to_owned(),
        (other, _) => format!("other processors (ELF machine {other})"),
    }
}

fn needed_glibc<'data, R: ReadRef<'data>>(
    header: &Header,
    endian: Endianness,
    data: R,
) -> Result<Option<Version>, Unfit> {
    let sections = sections(header, endian, data)?;
    let Some((libraries, link)) = sections.gnu_verneed(endian, data).map_err(damaged)? else { return Ok(None) };
    let strings = sections.strings(endian, data, link).map_err(damaged)?;
    let mut newest = None;
    for library in libraries {
        let (_, versions) = library.map_err(damaged)?;
        for version in versions {
            let name = version.map_err(damaged)?.name(endian, strings).map_err(damaged)?;
            newest = newest.max(Version::of_symbol(name));
        }
    }
    Ok(newest)
}

/// The sections, if their tables are of a size that programs have.
fn sections<'data, R: ReadRef<'data>>(
    header: &Header,
    endian: Endianness,
    data: R,
) -> Result<SectionTable<'data, Header, R>, Unfit> {
    // A count of 0 with sections means that there are more than the header can say: no program has so many.
    if header.e_shnum(endian) == 0 && header.e_shoff(endian) != 0 {
        return Err(Unfit::Damaged("it has too many sections".to_owned()));
    }
    let sections = header.sections(endian, data).map_err(damaged)?;
    // These are read as a whole; strings are read one by one.
    let versions = [SHT_GNU_VERNEED, SHT_GNU_VERDEF];
    if sections
        .iter()
        .any(|section| versions.contains(&section.sh_type(endian)) && section.sh_size(endian) > TABLE_BYTES)
    {
        return Err(Unfit::Damaged("its table of versions is too large".to_owned()));
    }
    Ok(sections)
}

fn damaged(error: object::Error) -> Unfit {
    Unfit::Damaged(error.to_string())
}
