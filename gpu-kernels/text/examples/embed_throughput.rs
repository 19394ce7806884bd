//! Prints how many texts and tokens a second a model embeds, in each precision that the processor has.
//!
//! ```sh
//! cargo run --release -p tandem-text --example embed_throughput -- FOLDER [texts=N] [threads=1,2] [precisions=f32,bf16]
//!     [rounds=3] [write_texts=FILE] [write_vectors=FILE]
//! ```
//!
//! FOLDER is a model's; `bench/peers/embed/make_model.py` makes one of the shape of all-MiniLM-L6-v2. Texts are drawn from
//! its `vocab.txt`: 11 to 446 pieces, quartiles at about 61, 111 and 207, as those of news articles' first paragraphs.
//! The time is that of the best round, tokenising included; with one thread time on the processor, so that a busy machine
//! counts less, else wall time. `write_texts` keeps the texts, one JSON string a line, for the peers in
//! `bench/peers/embed`, and `write_vectors` the vectors of the last precision as raw `f32`, for comparing.

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use tandem_text::embed::Embeddings;
use tandem_text::model::{Model, ModelPrecision};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("which folder is the model's?")?;
    let folder = Path::new(&folder);
    let options: HashMap<String, String> =
        args.filter_map(|arg| arg.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()))).collect();
    let option = |key: &str, or: &str| options.get(key).cloned().unwrap_or_else(|| or.to_owned());
    let texts = generate(folder, option("texts", "512").parse()?)?;
    if let Some(file) = options.get("write_texts") {
        let mut file = BufWriter::new(std::fs::File::create(file)?);
        texts.iter().try_for_each(|text| writeln!(file, "{}", serde_json::Value::from(text.as_str())))?;
    }
    let rounds = option("rounds", "3").parse()?;
    let mut last = None;
    for precision in option("precisions", "f32,bf16,int8").split(',') {
        let start = Instant::now();
        let model = match Model::load(folder, precision.parse::<ModelPrecision>()?) {
            Ok(model) => model,
            Err(error) => {
                println!("{precision}: {error}");
                continue;
            }
        };
        println!("{precision}: loaded in {:.2} s", start.elapsed().as_secs_f64());
        for threads in option("threads", "1").split(',') {
            last = Some(measure(&model, &texts, threads.parse()?, rounds)?);
        }
    }
    if let Some((file, embeddings)) = options.get("write_vectors").zip(last) {
        let bytes: Vec<u8> = embeddings.vectors().iter().flat_map(|value| value.to_le_bytes()).collect();
        std::fs::write(file, bytes)?;
    }
    Ok(())
}

fn measure(model: &Model, texts: &[String], threads: usize, rounds: u32) -> Result<Embeddings, Box<dyn Error>> {
    let mut best = f64::INFINITY;
    let mut embeddings = model.embed(&texts[..texts.len().min(32)], threads)?;
    for _ in 0..rounds {
        let (start, busy) = (Instant::now(), busy_seconds());
        embeddings = model.embed(texts, threads)?;
        let wall = start.elapsed().as_secs_f64();
        let busy = busy.zip(busy_seconds()).map(|(before, after)| after - before);
        best = best.min(if threads == 1 { busy.unwrap_or(wall) } else { wall });
    }
    let operations: f64 = model
        .encoder()
        .map_or(0.0, |encoder| (0..texts.len()).map(|text| encoder.operations(embeddings.tokens_of(text))).sum());
    let (mut ids, mut tokenised, start, busy) = (Vec::new(), 0, Instant::now(), busy_seconds());
    // Long enough for a clock that ticks in milliseconds.
    while start.elapsed().as_secs_f64() < 0.3 {
        ids.clear();
        texts.iter().for_each(|text| _ = model.tokenizer().encode(text, model.longest(), &mut ids));
        tokenised += ids.len();
    }
    let wall = start.elapsed().as_secs_f64();
    let tokenised = tokenised as f64 / busy.zip(busy_seconds()).map_or(wall, |(before, after)| after - before);
    println!(
        "  {} threads {threads}: {:.1} texts/s  {:.0} tokens/s  {:.1} GFLOP/s  ({} texts, {} tokens, {} cut; tokenising alone {:.1} M tokens/s; peak RSS {} MiB)",
        model.precision(),
        texts.len() as f64 / best,
        embeddings.tokens() as f64 / best,
        operations / best / 1e9,
        texts.len(),
        embeddings.tokens(),
        (0..texts.len()).filter(|text| embeddings.was_cut(*text)).count(),
        tokenised / 1e6,
        peak_mib().unwrap_or(0),
    );
    Ok(embeddings)
}

/// Seconds that the main thread has spent on a processor; none where the system does not tell.
fn busy_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/schedstat").ok()?;
    Some(stat.split(' ').next()?.parse::<f64>().ok()? / 1e9)
}

/// The most memory that this process has had; none where the system does not tell.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

/// Texts whose words are those of the vocabulary, common ones more often, with some that must be cut into pieces.
fn generate(folder: &Path, count: usize) -> Result<Vec<String>, Box<dyn Error>> {
    let vocabulary = std::fs::read_to_string(folder.join("vocab.txt"))?;
    let plain = |piece: &&str| piece.len() > 1 && piece.bytes().all(|byte| byte.is_ascii_lowercase());
    let words: Vec<&str> = vocabulary.lines().filter(plain).collect();
    let tails: Vec<&str> = vocabulary.lines().filter_map(|piece| piece.strip_prefix("##")).filter(plain).collect();
    if words.is_empty() || tails.is_empty() {
        return Err("vocab.txt has no words".into());
    }
    let mut state = 42_u64;
    let mut unit = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut texts = Vec::with_capacity(count);
    for _ in 0..count {
        let normal = (0..12).map(|_| unit()).sum::<f64>() - 6.0;
        let pieces = (111.0 * (0.92 * normal).exp()).clamp(11.0, 446.0) as usize;
        let (mut text, mut used, mut sentence) = (String::new(), 2, 0);
        while used < pieces {
            let word = words[(words.len() as f64).powf(unit()) as usize - 1];
            let start = text.len() + usize::from(!text.is_empty());
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word);
            used += 1;
            if unit() < 0.05 {
                text.push_str(tails[(unit() * tails.len() as f64) as usize]);
                used += 1;
            }
            if sentence == 0 {
                text[start..=start].make_ascii_uppercase();
            }
            sentence += 1;
            if sentence > 6 && unit() < 0.1 {
                text.push('.');
                (used, sentence) = (used + 1, 0);
            } else if unit() < 0.06 {
                text.push(',');
                used += 1;
            }
        }
        texts.push(text);
    }
    Ok(texts)
}
