//! How fast it is. Times are of the wall, from the call to the answer on the host.

use std::time::Instant;

use tandem_kernels::device::{Device, DeviceError};
use tandem_kernels::encoder::cuda::DeviceEncoder;
use tandem_kernels::funk::cuda::{DeviceTrainer, Mode, Storage};
use tandem_kernels::funk::{Order, RowShape, Side, TrainOptions, Trainer};
use tandem_kernels::{Cpu, Sparse, ials as cpu_ials, rank};

use super::Answer;
use super::checks::threads;
use super::data;

fn seconds<T>(run: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let answer = run();
    (answer, start.elapsed().as_secs_f64())
}

/// Trains for some epochs; the members of the fastest one.
fn epochs(device: &Device, trainer: Trainer, ratings: usize, mode: Mode, count: usize) -> Answer {
    let (trainer, prepared) = seconds(|| DeviceTrainer::of(device, trainer, mode));
    let mut trainer = trainer?;
    let (mut best, mut error) = (f64::INFINITY, 0.0);
    for _ in 0..count {
        let (answer, took) = seconds(|| trainer.epoch());
        match answer {
            Ok(answer) => (error, best) = (answer, best.min(took)),
            // More in flight than is good may diverge; that is an answer too.
            Err(DeviceError::Input(diverged)) => {
                return Ok(format!("{{\"mode\":\"{mode:?}\",\"error\":\"{diverged}\"}}"));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let rate = ratings as f64 / best / 1e9;
    Ok(format!(
        "{{\"mode\":\"{mode:?}\",\"giga_updates_per_s\":{rate:.3},\"epoch_ms\":{:.2},\"rmse\":{error:.5},\"upload_s\":{prepared:.2}}}",
        best * 1e3
    ))
}

/// k = 20 at the size of MovieLens-25M: the fast mode with several caps, batches of several sizes, the CPU.
pub(crate) fn funk(device: &Device) -> Answer {
    let all = data::ratings(&data::LARGE);
    let (users, items) = (data::LARGE.users, data::LARGE.items);
    let options = TrainOptions { order: Some(Order::Shuffled), learning_rate: 0.01, ..TrainOptions::surprise(20) };
    let (trainer, prepared) = seconds(|| Trainer::new(Cpu::best(), &all, users, items, &options));
    let trainer = trainer?;
    let fast = |in_flight| Mode::Fast { in_flight, storage: Storage::F32 };
    let modes = [fast(None), fast(Some(8_192)), fast(Some(16_384)), fast(Some(32_768))];
    let modes = modes.into_iter().chain([256, 512, 1024].map(|size| Mode::Batches { size }));
    let mut runs = Vec::new();
    for mode in modes {
        runs.push(epochs(device, trainer.clone(), all.len(), mode, 5)?);
    }
    let (mut cpu, threads) = (trainer, threads());
    let (error, took) = seconds(|| (0..5).try_fold(0.0, |_, _| cpu.epoch(threads)));
    let rate = all.len() as f64 * 5.0 / took / 1e9;
    Ok(format!(
        "\"ratings\":{},\"prepare_s\":{prepared:.2},\"runs\":[{}],\"cpu\":{{\"threads\":{threads},\"giga_updates_per_s\":{rate:.4},\"rmse\":{:.5}}}",
        all.len(),
        runs.join(","),
        error?
    ))
}

/// k = 128 with rows far larger than the cache, as floats and as fp16.
pub(crate) fn funk_half(device: &Device) -> Answer {
    let all = data::ratings(&data::WIDE);
    let options = TrainOptions { order: Some(Order::Shuffled), learning_rate: 0.01, ..TrainOptions::surprise(128) };
    let trainer = Trainer::new(Cpu::best(), &all, data::WIDE.users, data::WIDE.items, &options)?;
    let mut runs = Vec::new();
    for (storage, in_flight) in
        [(Storage::F16, None), (Storage::F16, Some(8_192)), (Storage::F16, Some(16_384)), (Storage::F32, None)]
    {
        runs.push(epochs(device, trainer.clone(), all.len(), Mode::Fast { in_flight, storage }, 3)?);
    }
    Ok(format!("\"ratings\":{},\"runs\":[{}]", all.len(), runs.join(",")))
}

/// The ten best of 59,047 items for 162,541 users.
pub(crate) fn top_k(device: &Device) -> Answer {
    let (users, items) = (data::LARGE.users, data::LARGE.items);
    let mut runs = Vec::new();
    for k in [20, 128] {
        let stride = RowShape::new(k).stride();
        let (p, q) = (data::rows(users, stride, k + 2, 1), data::rows(items, stride, k + 2, 2));
        let none = Sparse::empty(users, items);
        let run = || rank::cuda::top_k(device, &p, &q, stride, &none, 10);
        run()?;
        let (lists, took) = seconds(run);
        let rate = lists?.len() as f64 / took;
        runs.push(format!("{{\"k\":{k},\"users_per_s\":{rate:.0}}}"));
    }
    Ok(format!("\"items\":{items},\"runs\":[{}]", runs.join(",")))
}

/// Iterations over 7.2 million pairs.
pub(crate) fn ials(device: &Device) -> Answer {
    let shape = data::Shape { ratings: 7_200_000, ..data::LARGE };
    let mut pairs = data::ratings(&shape);
    pairs.iter_mut().for_each(|pair| pair.value = 1.0);
    let entries = Sparse::new(&pairs, shape.users, shape.items, Side::User)?;
    let entries: usize = (0..entries.rows()).map(|row| entries.columns(row).len()).sum();
    let mut runs = Vec::new();
    for factors in [20, 64, 128] {
        let run = |iterations| {
            let options = cpu_ials::IalsOptions { iterations, ..cpu_ials::IalsOptions::new(factors) };
            seconds(|| cpu_ials::cuda::train(device, &pairs, shape.users, shape.items, &options))
        };
        // The difference is three iterations without preparation and transfers.
        let ((first, short), (second, long)) = (run(1), run(4));
        first?;
        second?;
        let iteration = (long - short) / 3.0;
        let rate = entries as f64 / iteration / 1e6;
        runs.push(format!(
            "{{\"k\":{factors},\"iteration_ms\":{:.1},\"mega_entries_per_s\":{rate:.1}}}",
            iteration * 1e3
        ));
    }
    Ok(format!("\"entries\":{entries},\"runs\":[{}]", runs.join(",")))
}

/// Texts of news' lengths through a model of MiniLM's shape.
pub(crate) fn encoder(device: &Device) -> Answer {
    let model = data::mini_lm();
    let mut encoder = DeviceEncoder::new(device, &model.config, &model.weights())?;
    let (ids, offsets) = data::texts(60_000, 256);
    encoder.encode(&ids[..offsets[500] as usize], &offsets[..=500])?;
    let (vectors, took) = seconds(|| encoder.encode(&ids, &offsets));
    let texts = vectors?.len() / model.config.hidden;
    let (texts_per_s, tokens_per_s) = (texts as f64 / took, ids.len() as f64 / took);
    // Products only, 21.23 MFLOP a token; attention adds some 8 %.
    let tera = 21.23e6 * tokens_per_s / 1e12;
    Ok(format!(
        "\"texts\":{texts},\"tokens\":{},\"texts_per_s\":{texts_per_s:.0},\"tokens_per_s\":{tokens_per_s:.0},\"product_tflops\":{tera:.1}",
        ids.len()
    ))
}
