//! Actors.

use tandem::prelude::*;

pub(crate) struct Counter {
    count: u64,
}

#[tandem::actor(max_restarts = 2)]
impl Counter {
    fn new(start: u64) -> Result<Self> {
        tandem::ensure!(start < 1000, "a counter starts below 1000");
        Ok(Self { count: start })
    }

    /// Counts `n` more.
    async fn add(&mut self, n: u64) -> u64 {
        self.count += n;
        self.count
    }

    async fn add_of(&mut self, n: Vec<ObjectRef<u64>>) -> Result<u64> {
        for n in n {
            self.count += n.await?;
        }
        Ok(self.count)
    }

    fn get(&self) -> u64 {
        self.count
    }

    fn letters(&self, count: usize) -> Vec<u8> {
        vec![b'x'; count]
    }

    fn fail(&mut self) -> Result<()> {
        self.count += 100;
        tandem::bail!("as asked")
    }

    /// Counts up to `end`, and yields each number.
    #[tandem::method(stream)]
    async fn count_to(&mut self, end: u64, to: Yield<u64>) -> Result<()> {
        while self.count < end {
            self.count += 1;
            to.send(&self.count).await?;
        }
        Ok(())
    }

    /// Not async, and goes on for ever.
    #[tandem::method(stream, window = 1)]
    fn count_on(&mut self, ctx: &Context, to: Yield<u64>) -> Result<()> {
        loop {
            self.count += 1;
            ctx.block_on(to.send(&self.count))?;
        }
    }

    fn leave(&self, ctx: &Context) {
        ctx.end_actor();
    }

    fn checkpoint(&self) -> Vec<u8> {
        self.count.to_le_bytes().to_vec()
    }

    fn restore(state: Vec<u8>) -> Result<Self> {
        Ok(Self { count: u64::from_le_bytes(state.as_slice().try_into()?) })
    }
}

/// Saves its count once in a while.
pub(crate) struct Saver {
    count: u64,
}

#[tandem::actor(checkpoint_every = 3)]
impl Saver {
    fn new() -> Self {
        Self { count: 0 }
    }

    fn add(&mut self, n: u64) -> u64 {
        self.count += n;
        self.count
    }

    async fn add_of(&mut self, n: Vec<ObjectRef<u64>>) -> Result<u64> {
        for n in n {
            self.count += n.await?;
        }
        Ok(self.count)
    }

    fn get(&self) -> u64 {
        self.count
    }

    fn add_and_panic(&mut self, n: u64) {
        self.count += n;
        panic!("as asked");
    }

    /// Yields all numbers up to the count.
    #[tandem::method(stream)]
    async fn numbers(&self, to: Yield<u64>) -> Result<()> {
        for n in 1..=self.count {
            to.send(&n).await?;
        }
        Ok(())
    }

    fn checkpoint(&self) -> Result<u64> {
        tandem::ensure!(self.count != 13, "13 is not saved");
        Ok(self.count)
    }

    fn restore(count: u64) -> Self {
        Self { count }
    }
}

/// Makes checkpoints, and has a group of calls that only read.
pub(crate) struct Shelf {
    books: u64,
}

#[tandem::actor(checkpoint_every = 3, concurrency_groups(readers = 1))]
impl Shelf {
    fn new() -> Self {
        Self { books: 0 }
    }

    async fn add(&mut self, books: Vec<ObjectRef<u64>>) -> Result<u64> {
        for books in books {
            self.books += books.await?;
        }
        Ok(self.books)
    }

    /// Reads as long as there is no value, and says how many books there are.
    #[tandem::method(group = "readers")]
    async fn read(&self, until: Vec<ObjectRef<u64>>) -> Result<u64> {
        for until in until {
            until.await?;
        }
        Ok(self.books)
    }

    fn checkpoint(&self) -> u64 {
        self.books
    }

    fn restore(books: u64) -> Self {
        Self { books }
    }
}

/// Calls that wait for each other.
pub(crate) struct Meeting {
    there: tokio::sync::watch::Sender<u32>,
}

#[tandem::actor]
impl Meeting {
    async fn new() -> Self {
        Self { there: tokio::sync::watch::Sender::new(0) }
    }

    async fn meet(&self, count: u32) -> Result<u32> {
        self.there.send_modify(|there| *there += 1);
        Ok(*self.there.subscribe().wait_for(|there| *there >= count).await?)
    }
}

/// Lets nobody in before it is opened. Those who only look do not wait behind those who want to come in.
pub(crate) struct Gate {
    opened: tokio::sync::watch::Sender<bool>,
    looking: tokio::sync::watch::Sender<u32>,
    came: std::cell::RefCell<Vec<u32>>,
}

#[tandem::actor(concurrency_groups(doors = 1, windows = 2))]
impl Gate {
    fn new() -> Self {
        let (opened, looking) = (tokio::sync::watch::Sender::new(false), tokio::sync::watch::Sender::new(0));
        Self { opened, looking, came: std::cell::RefCell::default() }
    }

    /// Says who has come in by now.
    #[tandem::method(group = "doors")]
    async fn enter(&self, who: u32) -> Result<Vec<u32>> {
        self.opened.subscribe().wait_for(|opened| *opened).await?;
        self.came.borrow_mut().push(who);
        Ok(self.came.borrow().clone())
    }

    /// Looks until so many do at once.
    #[tandem::method(group = "windows")]
    async fn look(&self, together: u32) -> Result<u32> {
        self.looking.send_modify(|looking| *looking += 1);
        Ok(*self.looking.subscribe().wait_for(|looking| *looking >= together).await?)
    }

    /// Yields who has come in.
    #[tandem::method(stream, group = "doors", window = 1)]
    async fn show(&self, to: Yield<u32>) -> Result<()> {
        let came = self.came.borrow().clone();
        for who in came {
            to.send(&who).await?;
        }
        Ok(())
    }

    fn open(&self) {
        self.opened.send_replace(true);
    }
}

/// Asks others, which may ask it back.
pub(crate) struct Asker;

#[tandem::actor(light)]
impl Asker {
    fn new() -> Self {
        Self
    }

    async fn ask(&mut self, others: Vec<AskerHandle>) -> Result<usize> {
        let Some((next, others)) = others.split_first() else { return Ok(0) };
        Ok(next.ask(others.to_vec()).await? + 1)
    }
}

#[tandem::task]
pub(crate) async fn count_there(counter: CounterHandle, n: u64) -> Result<u64> {
    Ok(counter.add(n).await?)
}
