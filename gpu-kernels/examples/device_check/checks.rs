//! Every operation against the CPU.

use tandem_kernels::device::Device;
use tandem_kernels::encoder::cuda::DeviceEncoder;
use tandem_kernels::funk::cuda::{self, DeviceTrainer, Mode, Storage};
use tandem_kernels::funk::{Batches, Block, Rating, RowShape, Rule, SgdParams, Side, TrainOptions, rmse, train};
use tandem_kernels::funk::{start_row, update_block_batched};
use tandem_kernels::{Cpu, Sparse, ials as cpu_ials, rank};

use super::data::{self, Numbers};
use super::encoder_reference::cosine;
use super::{Answer, check};

/// All cores.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Copies there and back, overlapping ones too; the budget.
pub(crate) fn memory(device: &Device) -> Answer {
    let values: Vec<f32> = (0..3_000_001).map(|at| at as f32).collect();
    let buffer = device.upload(&values)?;
    check(device.download(&buffer)? == values, || "values came back changed".to_owned())?;
    let mut pinned = device.pinned::<f32>(values.len())?;
    pinned.copy_from_slice(&values);
    let room = device.zeros(values.len())?;
    let (mut pinned, there) = device.start_upload(pinned, room)?.finish()?;
    pinned.fill(0.0);
    let (pinned, _) = device.start_download(there, pinned)?.finish()?;
    check(pinned[..] == values[..], || "pinned values came back changed".to_owned())?;
    let free = device.free_bytes()?;
    let beyond = device.allocate::<u8>(free as usize + 1).map(|_| ());
    check(beyond.is_err(), || "more than the budget was given".to_owned())?;
    Ok(format!("\"free_bytes\":{free},\"refused\":{:?}", beyond.expect_err("checked").to_string()))
}

fn rows(shape: RowShape, side: Side, count: usize) -> Vec<f32> {
    let mut rows = vec![0.0; count * shape.stride()];
    for (id, row) in rows.chunks_mut(shape.stride()).enumerate() {
        start_row(shape, side, id as u32, true, 0.2, 3, row);
    }
    rows
}

/// One block in batches: the same bits as on the CPU, twice.
pub(crate) fn funk_batched(device: &Device) -> Answer {
    let mut numbers = Numbers(1);
    let (users, items, mut cases) = (3000, 700, 0);
    for k in [0, 6, 20, 64, 100, 128] {
        for (rule, biases, size) in [(Rule::Surprise, true, 1024), (Rule::R2, false, 333), (Rule::Surprise, false, 1)] {
            let count = if size == 1 { 300 } else { 40_000 };
            let rating = |n: &mut Numbers| Rating {
                user: n.below(users) as u32,
                item: (n.unit() * n.unit() * items as f64) as u32,
                value: 1.0 + 4.0 * n.unit() as f32,
            };
            let block = Block::new((0..count).map(|_| rating(&mut numbers)).collect(), users, items)?;
            let (batches, shape) = (Batches::new(&block, size)?, RowShape::new(k));
            let params = SgdParams { rule, mean: 3.0, learning_rate: 0.01, regularization: 0.02, biases };
            let (p, q) = (rows(shape, Side::User, users), rows(shape, Side::Item, items));
            let (mut cpu_p, mut cpu_q) = (p.clone(), q.clone());
            let squares = update_block_batched(Cpu::best(), &params, shape, &block, &batches, &mut cpu_p, &mut cpu_q)?;
            for _ in 0..2 {
                let (mut p, mut q) = (p.clone(), q.clone());
                let got = cuda::update_block_batched(device, &params, shape, &block, &batches, &mut p, &mut q)?;
                let same = got.to_bits() == squares.to_bits() && p == cpu_p && q == cpu_q;
                check(same, || format!("k {k}, {rule:?}, size {size}: other bits, squares {got} and {squares}"))?;
            }
            cases += 1;
        }
    }
    Ok(format!("\"cases\":{cases}"))
}

/// A training in the fast mode and in batches against the sequential one.
pub(crate) fn funk_fast(device: &Device) -> Answer {
    let mut all = data::ratings(&data::SMALL);
    let held_out = all.split_off(all.len() - 90_000);
    let (users, items) = (data::SMALL.users, data::SMALL.items);
    let mut members = Vec::new();
    for (name, factors, storage) in [("k20", 20, Storage::F32), ("k128_f16", 128, Storage::F16)] {
        let options = TrainOptions { learning_rate: 0.01, epochs: 10, ..TrainOptions::surprise(factors) };
        let sequential = train(Cpu::best(), &all, users, items, &options, threads())?;
        let mode = Mode::Fast { in_flight: None, storage };
        let mut trainer = DeviceTrainer::new(device, &all, users, items, &options, mode)?;
        for _ in 0..options.epochs {
            trainer.epoch()?;
        }
        let fast = rmse(Cpu::best(), &trainer.model()?, &held_out, None)?;
        let sequential = rmse(Cpu::best(), &sequential, &held_out, None)?;
        members.push(format!("\"{name}\":{{\"fast_rmse\":{fast:.5},\"sequential_rmse\":{sequential:.5}}}"));
        // The goal is 0.1 %; seeds alone differ by 0.05 %, and fp16 rounds each addition.
        check((fast / sequential - 1.0).abs() < 0.004, || format!("{name}: {fast} against {sequential}"))?;
    }
    let options = TrainOptions { learning_rate: 0.01, ..TrainOptions::surprise(20) };
    // 28 ratings of each of 32 blocks are what `in_flight` allows here: the most popular item has 2.7 % of all.
    let size = 28;
    let mode = Mode::Batches { size };
    let mut checksums = Vec::new();
    for _ in 0..2 {
        let mut trainer = DeviceTrainer::new(device, &all, users, items, &options, mode)?;
        (0..3).try_for_each(|_| trainer.epoch().map(|_| ()))?;
        checksums.push(trainer.model()?.checksum());
    }
    let cpu = tandem_kernels::funk::Trainer::new(Cpu::best(), &all, users, items, &options)?;
    let mut cpu = cpu.batched(size)?;
    (0..3).try_for_each(|_| cpu.epoch(threads()).map(|_| ()))?;
    let same = checksums.iter().all(|checksum| *checksum == cpu.model().checksum());
    check(same, || format!("batches: {checksums:x?} and {:x}", cpu.model().checksum()))?;
    Ok(members.join(","))
}

/// The best items: the same as on the CPU.
pub(crate) fn top_k(device: &Device) -> Answer {
    for (users, items, stride, k) in
        [(301, 59_047, 24, 10), (50, 20_000, 136, 100), (7, 9_000, 8, 4096), (3, 5, 16, 10)]
    {
        let (p, q) = (data::rows(users, stride, stride, 5), data::rows(items, stride, stride, 6));
        let mut numbers = Numbers(8);
        let seen: Vec<Rating> = (0..users * 20)
            .map(|_| Rating { user: numbers.below(users) as u32, item: numbers.below(items) as u32, value: 1.0 })
            .collect();
        let seen = Sparse::new(&seen, users, items, Side::User)?;
        let cpu = rank::top_k(Cpu::best(), &p, &q, stride, &seen, k)?;
        let got = rank::cuda::top_k(device, &p, &q, stride, &seen, k)?;
        check(got == cpu, || format!("{users} users, {items} items, stride {stride}, k {k}: other lists"))?;
    }
    Ok("\"cases\":4".to_owned())
}

/// Gram matrix, rows and a training: the same bits as on the CPU.
pub(crate) fn ials(device: &Device) -> Answer {
    let mut pairs = data::ratings(&data::Shape { ratings: 60_000, ..data::SMALL });
    pairs.iter_mut().for_each(|pair| pair.value = 1.0);
    for factors in [5, 20, 64, 128, 200] {
        let options = cpu_ials::IalsOptions { iterations: 1, ..cpu_ials::IalsOptions::new(factors) };
        let (users, items) = (data::SMALL.users, data::SMALL.items);
        let cpu = cpu_ials::train(Cpu::best(), &pairs, users, items, &options, threads())?;
        let got = cpu_ials::cuda::train(device, &pairs, users, items, &options)?;
        check(got == cpu, || format!("{factors} factors: other bits"))?;
    }
    Ok("\"cases\":5".to_owned())
}

/// A model of MiniLM's shape against plain code in f64; and that company does not matter.
pub(crate) fn encoder(device: &Device) -> Answer {
    let model = data::mini_lm();
    let mut encoder = DeviceEncoder::new(device, &model.config, &model.weights())?;
    let (ids, offsets) = data::texts(400, 256);
    let vectors = encoder.encode(&ids, &offsets)?;
    let hidden = model.config.hidden;
    let short: Vec<usize> = (0..400).filter(|at| offsets[at + 1] - offsets[*at] < 90).take(8).collect();
    let mut least = 1.0_f64;
    for at in short {
        let text = &ids[offsets[at] as usize..offsets[at + 1] as usize];
        let vector = &vectors[at * hidden..][..hidden];
        least = least.min(cosine(vector, &model.encode(text)));
        let alone = encoder.encode(text, &[0, text.len() as u32])?;
        check(alone == vector, || format!("text {at} has other bits by itself"))?;
    }
    check(vectors.iter().all(|x| x.is_finite()), || "a vector is not finite".to_owned())?;
    check(least > 0.999, || format!("least cosine {least}"))?;
    Ok(format!("\"least_cosine\":{least:.6}"))
}
