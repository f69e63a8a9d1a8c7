//! What a process and its supervisor tell each other: single bytes, in both directions of one
//! connection. The connection ends with either of them, however it dies.

/// What a process tells its supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It runs, and each of its workers has made a step since the last sign; or none is at work,
    /// since the job starts or ends.
    Progress,
    /// It runs, and one of its workers has made no step since the last sign.
    NoProgress,
    /// It has committed. Only the first process does.
    Commit,
}

impl Sign {
    /// The byte that stands for it.
    pub fn to_byte(self) -> u8 {
        match self {
            Sign::Progress => b'p',
            Sign::NoProgress => b'n',
            Sign::Commit => b'c',
        }
    }

    /// Returns what a byte stands for; `None` if nothing.
    pub fn of_byte(byte: u8) -> Option<Sign> {
        let all = [Sign::Progress, Sign::NoProgress, Sign::Commit];
        all.into_iter().find(|sign| sign.to_byte() == byte)
    }
}

/// What a supervisor tells a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Publish what has been read, and end.
    Drain,
}

impl Order {
    /// The byte that stands for it.
    pub fn to_byte(self) -> u8 {
        match self {
            Order::Drain => b'd',
        }
    }

    /// Returns what a byte stands for; `None` if nothing.
    pub fn of_byte(byte: u8) -> Option<Order> {
        (byte == Order::Drain.to_byte()).then_some(Order::Drain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_stands_for_one_sign_at_most() {
        let signs: Vec<Sign> = (0..=255).filter_map(Sign::of_byte).collect();
        assert_eq!(signs, [Sign::Commit, Sign::NoProgress, Sign::Progress]);
        let orders: Vec<Order> = (0..=255).filter_map(Order::of_byte).collect();
        assert_eq!(orders, [Order::Drain]);
    }
}
