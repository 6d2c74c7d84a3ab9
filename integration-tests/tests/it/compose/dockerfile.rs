//! As much of the Dockerfile's syntax as the checks need: stages and their
//! instructions.

/// One `FROM … AS …` and what follows it.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) name: String,
    /// The image or the earlier stage that this one begins with.
    pub(super) base: String,
    instructions: Vec<(String, String)>,
}

#[derive(Debug)]
pub(super) struct Dockerfile(Vec<Stage>);

impl Dockerfile {
    pub(super) fn parse(text: &str) -> Self {
        let lines = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'));
        let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
        let mut stages = Vec::<Stage>::new();
        for line in joined.lines() {
            let Some((keyword, rest)) = line.trim().split_once(char::is_whitespace) else {
                continue;
            };
            let keyword = keyword.to_uppercase();
            if keyword == "FROM" {
                let words = rest.split_whitespace().collect::<Vec<_>>();
                stages.push(Stage {
                    name: words.last().unwrap().to_string(),
                    base: words[0].to_owned(),
                    instructions: Vec::new(),
                });
            } else if let Some(stage) = stages.last_mut() {
                stage.instructions.push((keyword, rest.trim().to_owned()));
            }
        }
        Self(stages)
    }

    pub(super) fn stage(&self, name: &str) -> Option<&Stage> {
        self.0.iter().find(|stage| stage.name == name)
    }

    /// The images, not the stages, that stages begin with.
    pub(super) fn images(&self) -> impl Iterator<Item = &str> {
        let bases = self.0.iter().map(|stage| stage.base.as_str());
        bases.filter(|base| self.stage(base).is_none())
    }

    /// The last such instruction in force at the end of the stage: its own, or
    /// that of the stage it begins with.
    pub(super) fn in_force(&self, stage: &Stage, keyword: &str) -> Option<&str> {
        let stage = self.stage(&stage.name)?;
        let own = stage
            .instructions
            .iter()
            .rev()
            .find(|(word, _)| word == keyword);
        match own {
            Some((_, arguments)) => Some(arguments),
            None => self.in_force(self.stage(&stage.base)?, keyword),
        }
    }
}
