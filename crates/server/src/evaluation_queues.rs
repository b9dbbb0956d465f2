//! The queues for evaluations of amendments, which take much computing time.

use std::time::Duration;

use license_service::caller_place::caller_with_share;
use license_service::turns::{QueueBounds, QueueFull, Turn, Turns};

/// Evaluations for sites, and for commands and jobs.
const OF_SITES: QueueBounds = QueueBounds {
    at_a_time: 2,
    max_waiting: 256,
    timeout: Duration::from_secs(5),
};
/// Evaluations for all staff.
const OF_STAFF: QueueBounds = QueueBounds {
    at_a_time: 2,
    max_waiting: 64,
    timeout: Duration::from_secs(10),
};
/// Evaluations for the owner of one token.
const OF_CALLER: QueueBounds = QueueBounds {
    at_a_time: 1,
    max_waiting: 32,
    timeout: Duration::from_secs(10),
};

/// The queues for evaluations. Sites never wait for staff, and staff with one token do not keep
/// others waiting. Clones share the queues.
#[derive(Clone, Debug)]
pub struct Evaluations {
    of_sites: Turns,
    of_staff: Turns,
    of_caller: Turns,
}

impl Default for Evaluations {
    fn default() -> Self {
        Self {
            of_sites: Turns::new(OF_SITES),
            of_staff: Turns::new(OF_STAFF),
            of_caller: Turns::new(OF_CALLER),
        }
    }
}

impl Evaluations {
    /// Waits for the turns of the present caller.
    ///
    /// # Errors
    /// If too many others wait, or have not finished in time.
    pub(crate) async fn turns(&self) -> Result<Vec<Turn>, QueueFull> {
        let Some(caller) = caller_with_share() else {
            return Ok(vec![self.of_sites.take(&()).await?]);
        };
        // The turn of the caller first, so that others do not wait for this caller.
        let of_caller = self.of_caller.take(&*caller).await?;
        Ok(vec![self.of_staff.take(&()).await?, of_caller])
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "there is no caller of the API")]
mod tests {
    use license_service::caller_place::with_share;

    use super::*;

    #[tokio::test]
    async fn sites_wait_for_no_staff_and_staff_for_no_other_token() {
        let queues = Evaluations::default();
        let staff = |name: &str| {
            let (queues, name) = (queues.clone(), name.into());
            async move { with_share(name, async move { queues.turns().await }).await }
        };
        let ana = staff("ana").await.unwrap();
        let waiting: Vec<_> = (0..OF_CALLER.max_waiting)
            .map(|_| tokio::spawn(staff("ana")))
            .collect();
        while waiting.iter().all(|it| !it.is_finished()) {
            // Until all of them wait, the next one waits as well.
            let next = tokio::time::timeout(Duration::from_millis(10), staff("ana")).await;
            if matches!(next, Ok(Err(QueueFull))) {
                break;
            }
        }
        let _ben = staff("ben").await.unwrap();
        for _ in 0..3 {
            let one = queues.turns().await.unwrap();
            let other = queues.turns().await.unwrap();
            drop((one, other));
        }
        drop(ana);
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
