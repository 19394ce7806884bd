"""Factorises ratings with scikit-surprise's SVD. Answers what one epoch takes, and when asked the error of held-out ratings."""

from surprise import SVD, Dataset, Reader, accuracy

from mf_arguments import ratings
from rounds import answer_each, timed

train = Dataset(Reader(rating_scale=(0.5, 5))).construct_trainset([(*rating, None) for rating in ratings("train").tolist()])
test = ratings("test").tolist()


def answer(factors, epochs, learning_rate, regularization, spread, seed, held_out, **_):
    parameters = {"n_factors": factors, "n_epochs": epochs, "lr_all": learning_rate, "reg_all": regularization}
    model = SVD(**parameters, init_std_dev=spread, random_state=seed)
    _, took = timed(lambda: model.fit(train))
    said = {name: seconds / epochs for name, seconds in took.items()}
    if held_out:
        said["rmse"] = accuracy.rmse(model.test(test), verbose=False)
    return said


answer_each(answer)
