//! From where on it is known what a connection was sent, and what is known of what came before.
//!
//! Kept for every connection, for the one that an operator asks of: two numbers and no more.

/// From where on it is known what a connection was sent: by what it is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The number of an event, and above it what is known of those up to that one.
    began: u64,
    /// Of all events behind this number it was, or will be, sent what it sees.
    pub from: u64,
}

/// What is known of the events of before a connection began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Before {
    /// It was not there, and was not sent them.
    NotThere,
    /// Another process sent it what it was sent.
    CameOver,
    /// It asked for the newest of them, which depends on what was kept then.
    AskedForLast,
}

/// Numbers of events are far below that.
const KIND_SHIFT: u32 = 62;

impl Known {
    /// Of one that begins behind the event with this number.
    pub fn behind(number: u64, before: Before) -> Self {
        Self {
            began: (before as u64) << KIND_SHIFT | number,
            from: number,
        }
    }

    /// The event behind which it began, and what is known of those up to it.
    pub fn began(self) -> (u64, Before) {
        let before = match self.began >> KIND_SHIFT {
            0 => Before::NotThere,
            1 => Before::CameOver,
            _ => Before::AskedForLast,
        };
        (self.began & ((1 << KIND_SHIFT) - 1), before)
    }

    /// What it sees has changed, or began to be sent: from here on.
    #[must_use]
    pub fn seen_from(self, number: u64) -> Self {
        Self {
            from: number,
            ..self
        }
    }

    /// What lay behind this number was sent, too, though it was not there then.
    #[must_use]
    pub fn since(self, number: u64) -> Self {
        let (began, before) = self.began();
        Self {
            from: self.from,
            ..Known::behind(began.min(number), before)
        }
    }

    /// It has asked for the newest events.
    #[must_use]
    pub fn with_last(self) -> Self {
        match self.began() {
            (began, Before::NotThere) => Self {
                from: self.from,
                ..Known::behind(began, Before::AskedForLast)
            },
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_before_is_told_by_how_it_began() {
        let known = Known::behind(1 << 61, Before::NotThere);
        assert_eq!(known.began(), (1 << 61, Before::NotThere));
        assert_eq!(known.since(7).began(), (7, Before::NotThere));
        assert_eq!(known.since(7).from, 1 << 61);
        let asked = known.with_last();
        assert_eq!(asked.began(), (1 << 61, Before::AskedForLast));
        let over = Known::behind(9, Before::CameOver);
        assert_eq!(
            over.with_last(),
            over,
            "what another process did is not known either way"
        );
        assert_eq!(over.since(20), over);
        assert_eq!(Known::default().began(), (0, Before::NotThere));
    }
}
