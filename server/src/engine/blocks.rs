//! Who holds which blocks of the KV cache, and what the ones hold that nobody needs any more: a
//! prompt that begins as an earlier one did, or as its answer went on, goes on with its blocks
//! ("prefix caching", as vLLM).
//!
//! Only whole blocks are shared, and a shared block is never written. Blocks that nobody
//! holds count as free; the one that was needed longest ago is taken first.
use super::batch::BLOCK_TOKENS;
use std::collections::{BTreeMap, HashMap};

/// Names what a block holds, together with everything before it; never given twice.
type Content = u64;

/// What comes before a prompt's first block.
const NOTHING: Content = 0;

/// The blocks of a KV cache, named by number.
#[derive(Debug)]
pub(super) struct Blocks {
    /// Blocks that hold nothing known.
    free: Vec<u32>,
    /// How many sequences hold each block.
    holders: Vec<usize>,
    /// What blocks are known to hold.
    known: HashMap<u32, Known>,
    /// The block that holds these tokens behind that content.
    found: HashMap<(Content, Box<[u32]>), u32>,
    /// Known blocks that nobody holds, by the time since when.
    idle: BTreeMap<u64, u32>,
    last_content: Content,
    clock: u64,
    sharing: bool,
}

#[derive(Debug)]
struct Known {
    content: Content,
    behind: Content,
    tokens: Box<[u32]>,
    /// Its key among the idle ones.
    idle_since: Option<u64>,
}

/// What a sequence has got.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Taken {
    /// Its blocks, in order of position.
    pub(super) blocks: Vec<u32>,
    /// How many tokens of its prompt they hold already: whole blocks, and never the whole prompt,
    /// since its last token has to be computed.
    pub(super) cached: usize,
}

impl Blocks {
    /// `count` blocks, all free. Without `sharing`, nothing is remembered.
    pub(super) fn new(count: usize, sharing: bool) -> Self {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            free: (0..count).rev().collect(),
            holders: vec![0; count as usize],
            known: HashMap::new(),
            found: HashMap::new(),
            idle: BTreeMap::new(),
            last_content: NOTHING,
            clock: 0,
            sharing,
        }
    }

    /// Takes blocks for a sequence of up to `tokens` tokens that begins with `prompt`; none where
    /// too few are free.
    pub(super) fn take(&mut self, prompt: &[u32], tokens: usize) -> Option<Taken> {
        let shared = self.beginning(prompt);
        let wanted = tokens.div_ceil(BLOCK_TOKENS).saturating_sub(shared.len());
        let woken = shared.iter().filter(|block| self.is_idle(**block)).count();
        if wanted + woken > self.free.len() + self.idle.len() {
            return None;
        }
        let cached = shared.len() * BLOCK_TOKENS;
        for &block in &shared {
            self.hold(block);
        }
        let mut blocks = shared;
        for _ in 0..wanted {
            let block = self.free.pop().or_else(|| self.forget_oldest())?;
            self.hold(block);
            blocks.push(block);
        }
        Some(Taken { blocks, cached })
    }

    /// Remembers that the first `computed` of `tokens` are in `blocks`.
    pub(super) fn remember(&mut self, blocks: &[u32], tokens: &[u32], computed: usize) {
        if !self.sharing {
            return;
        }
        let mut behind = NOTHING;
        let computed = tokens.get(..computed).unwrap_or(tokens);
        for (&block, tokens) in blocks.iter().zip(computed.chunks_exact(BLOCK_TOKENS)) {
            behind = match self.known.get(&block) {
                Some(known) => known.content,
                None => self.remember_one(block, behind, tokens),
            };
        }
    }

    /// Lets nobody find what is in `blocks`, whose holder failed.
    pub(super) fn forget(&mut self, blocks: &[u32]) {
        for block in blocks {
            if let Some(known) = self.known.remove(block) {
                self.found.remove(&(known.behind, known.tokens));
            }
        }
    }

    /// Gives back what [`Blocks::take`] took.
    pub(super) fn give_back(&mut self, blocks: &[u32]) {
        // The end of a prompt is worth less than its beginning, and goes first.
        for &block in blocks.iter().rev() {
            let Some(holders) = self.holders.get_mut(block as usize) else {
                continue;
            };
            *holders = holders.saturating_sub(1);
            if *holders > 0 {
                continue;
            }
            self.clock += 1;
            match self.known.get_mut(&block) {
                Some(known) => {
                    known.idle_since = Some(self.clock);
                    self.idle.insert(self.clock, block);
                }
                None => self.free.push(block),
            }
        }
    }

    /// Blocks that sequences hold.
    pub(super) fn used(&self) -> usize {
        self.holders.len() - self.free.len() - self.idle.len()
    }

    /// The blocks that hold the beginning of `prompt`.
    fn beginning(&self, prompt: &[u32]) -> Vec<u32> {
        let mut behind = NOTHING;
        let before_last = prompt.get(..prompt.len().saturating_sub(1));
        before_last
            .unwrap_or_default()
            .chunks_exact(BLOCK_TOKENS)
            .map_while(|tokens| {
                let block = *self.found.get(&(behind, tokens.into()))?;
                behind = self.known.get(&block)?.content;
                Some(block)
            })
            .collect()
    }

    /// Remembers what one block holds, unless another block holds the same. Returns the content.
    fn remember_one(&mut self, block: u32, behind: Content, tokens: &[u32]) -> Content {
        let key = (behind, Box::from(tokens));
        if let Some(same) = self.found.get(&key).and_then(|same| self.known.get(same)) {
            return same.content;
        }
        self.last_content += 1;
        self.found.insert(key, block);
        let known = Known {
            content: self.last_content,
            behind,
            tokens: tokens.into(),
            idle_since: None,
        };
        self.known.insert(block, known);
        self.last_content
    }

    fn is_idle(&self, block: u32) -> bool {
        self.known
            .get(&block)
            .is_some_and(|known| known.idle_since.is_some())
    }

    fn hold(&mut self, block: u32) {
        if let Some(holders) = self.holders.get_mut(block as usize) {
            *holders += 1;
        }
        let since = self
            .known
            .get_mut(&block)
            .and_then(|known| known.idle_since.take());
        if let Some(since) = since {
            self.idle.remove(&since);
        }
    }

    /// Frees the idle block that was needed longest ago.
    fn forget_oldest(&mut self) -> Option<u32> {
        let (_, block) = self.idle.pop_first()?;
        if let Some(known) = self.known.remove(&block) {
            self.found.remove(&(known.behind, known.tokens));
        }
        Some(block)
    }
}

#[cfg(test)]
mod tests;
