//! Store the effective time for the next start: in its file, and as high-water marks in the local
//! copy and in the database.

use super::Knowledge;
use super::timekeeping::Occasion;

impl Knowledge {
    /// Stores the time in all three places. There is nothing to store if no keys are trusted, or as
    /// long as the time is unknown.
    pub async fn keep_time(&self, occasion: Occasion) {
        let time = &self.parts.time;
        let Some(is_in_file) = time.write_file(occasion, self.remembered()).await else {
            return;
        };
        let mut troubles = Vec::new();
        if !is_in_file {
            troubles.push("time.json in STATE_DIR, or its key, cannot be written");
        }
        if time
            .effective()
            .is_some_and(|clock| !clock.knows_the_start())
        {
            troubles.push("the kernel's /proc/sys/kernel/random/boot_id cannot be read");
        }
        self.write_local_copy().await;
        if self.is_database_open() && !time.store_mark(&self.parts.store).await {
            troubles.push(
                "the database accepts the row license_client.effective_time but does not keep it",
            );
        }
        time.note_trouble(Some(troubles.join("; ")).filter(|troubles| !troubles.is_empty()));
    }

    /// Stores the time only in its file, which costs little.
    pub async fn keep_time_in_file(&self) {
        let remembered = self.remembered();
        self.parts
            .time
            .write_file(Occasion::Running, remembered)
            .await;
    }
}
