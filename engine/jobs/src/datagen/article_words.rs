//! The words that generated articles are made of. Data made today must be made again by later versions, so they stay as they are.

/// What an article is about.
pub(super) struct Topic {
    pub(super) name: &'static str,
    pub(super) subjects: [&'static str; 6],
    pub(super) verbs: [&'static str; 6],
    pub(super) objects: [&'static str; 6],
}

/// How an article judges.
pub(super) struct Tone {
    pub(super) name: &'static str,
    pub(super) words: [&'static str; 6],
}

pub(super) static TOPICS: [Topic; 8] = [
    Topic {
        name: "politics",
        subjects: ["the minister", "the parliament", "a senator", "the opposition", "the president", "a party"],
        verbs: ["debated", "rejected", "signed", "campaigned for", "amended", "voted on"],
        objects: [
            "the election law",
            "a new treaty",
            "the tax bill",
            "the coalition",
            "a reform of pensions",
            "the budget",
        ],
    },
    Topic {
        name: "technology",
        subjects: ["a start-up", "the software", "an engineer", "the new phone", "a chip maker", "the network"],
        verbs: ["released", "encrypted", "automated", "programmed", "patched", "upgraded"],
        objects: ["an open source library", "the battery", "a robot", "the processor", "cloud storage", "an app"],
    },
    Topic {
        name: "sports",
        subjects: ["the striker", "the home team", "a sprinter", "the coach", "the goalkeeper", "the champion"],
        verbs: ["won", "lost", "trained for", "scored in", "qualified for", "missed"],
        objects: ["the final", "the league match", "the marathon", "the second half", "the tournament", "a penalty"],
    },
    Topic {
        name: "business",
        subjects: ["the company", "an investor", "the bank", "a retailer", "the board", "the exporter"],
        verbs: ["sold", "merged with", "invested in", "priced", "acquired", "reported on"],
        objects: ["its shares", "a rival", "the quarterly profit", "a loan", "the supply chain", "two factories"],
    },
    Topic {
        name: "entertainment",
        subjects: ["the director", "a singer", "the band", "the actress", "a comedian", "the studio"],
        verbs: ["premiered", "recorded", "performed", "filmed", "announced", "cancelled"],
        objects: ["a comedy", "the concert", "the new album", "a series", "the festival show", "a sequel"],
    },
    Topic {
        name: "health",
        subjects: ["the hospital", "a doctor", "the patient", "a nurse", "the clinic", "the health service"],
        verbs: ["treated", "vaccinated against", "diagnosed", "warned about", "tested for", "recovered from"],
        objects: ["the flu", "a rare disease", "high blood pressure", "the infection", "an allergy", "the outbreak"],
    },
    Topic {
        name: "science",
        subjects: ["the probe", "a biologist", "the telescope", "a team of physicists", "the laboratory", "the study"],
        verbs: ["discovered", "measured", "observed", "simulated", "explained", "photographed"],
        objects: [
            "a distant galaxy",
            "an unknown species",
            "water on a moon",
            "the particle",
            "a fossil",
            "the genome",
        ],
    },
    Topic {
        name: "world",
        subjects: ["the embassy", "the delegation", "a border town", "the aid agency", "the island", "the neighbours"],
        verbs: ["welcomed", "evacuated", "negotiated", "rebuilt", "monitored", "reopened"],
        objects: ["the refugees", "a ceasefire", "the crossing", "the harbour", "peace talks", "the flooded villages"],
    },
];

pub(super) static TONES: [Tone; 3] = [
    Tone {
        name: "positive",
        words: [
            "a great success",
            "wonderful news",
            "a reason to be happy",
            "excellent work",
            "a brilliant idea",
            "the best result",
        ],
    },
    Tone {
        name: "neutral",
        words: [
            "a regular event",
            "part of the schedule",
            "in line with the plan",
            "a usual step",
            "the second of three",
            "as written",
        ],
    },
    Tone {
        name: "negative",
        words: [
            "a terrible failure",
            "bad news",
            "a sad day",
            "an awful mistake",
            "a dangerous crisis",
            "the worst result",
        ],
    },
];
